"""The scores of cases, read from ``cases.csv`` and ``summary.json``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from search_space.errors import UserError
from search_space.reading import read_json

from ..runs.names import CASES_NAME, SUMMARY_NAME
from .numbers import finite


def read_scores(folder: Path, notes: list[str]) -> dict[str, Any] | None:
    """The table of cases in a folder as the page's data; None if there is none, faults as notes."""
    file = folder / CASES_NAME
    if not file.exists():
        return None
    from ..evaluation.scores import (  # deferred: it takes seconds, and a search needs it not
        METRICS,
        read_cases,
    )

    try:
        table = read_cases(file)
    except UserError as error:
        notes.append(str(error))
        return None
    if table.empty:
        notes.append(f"{file}: holds no case")
        return None
    columns = {metric: [_number(value) for value in table[metric]] for metric in METRICS}
    return {
        "name": str(folder),
        "classes": list(dict.fromkeys(table["class"])),
        "caseIds": list(table["case_id"]),
        "caseClasses": list(table["class"]),
        "columns": columns,
        "summary": _read_summary(folder / SUMMARY_NAME, notes),
    }


def _read_summary(file: Path, notes: list[str]) -> dict[str, Any] | None:
    try:
        summary = read_json(file)
        if not isinstance(summary.get("classes"), dict):
            raise ValueError("no classes in it")
        if not isinstance(summary.get("warnings") or [], list):
            raise ValueError("warnings are no list")
    except FileNotFoundError:
        notes.append(f"{file}: missing, so that no intervals are shown; make it with uxnet evaluate")
        return None
    except (OSError, ValueError, AttributeError) as error:
        notes.append(f"{file}: cannot be read ({error}); make it again with uxnet evaluate")
        return None
    return {
        "mean_dice": finite(summary.get("mean_dice")),
        "mean_dice_interval_95": _interval(summary.get("mean_dice_interval_95")),
        "tolerance_mm": finite(summary.get("tolerance_mm")),
        "volume_unit": summary.get("volume_unit"),
        "warnings": [str(text) for text in summary.get("warnings") or []],
        "classes": {name: _metrics(metrics) for name, metrics in summary["classes"].items()},
    }


def _metrics(values: Any) -> dict[str, Any]:
    """Mean, standard deviation and interval of every metric of a class; None if no number."""
    found = {}
    for metric, entry in values.items() if isinstance(values, dict) else ():
        if isinstance(entry, dict):
            numbers = {key: finite(entry.get(key)) for key in ("mean", "sd", "num_cases")}
            found[metric] = {**numbers, "interval_95": _interval(entry.get("interval_95"))}
    return found


def _interval(value: Any) -> list[float] | None:
    if isinstance(value, list) and len(value) == 2 and all(finite(end) is not None for end in value):
        return value
    return None


def _number(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None
