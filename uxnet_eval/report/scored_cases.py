"""The scores of cases, from what ``uxnet evaluate`` and training write: ``cases.csv`` and ``summary.json``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from search_space.errors import UserError

CASES_FILE, SUMMARY_FILE = "cases.csv", "summary.json"


def read_scores(folder: Path, notes: list[str]) -> dict[str, Any] | None:
    """The table of cases in a folder as the page's data; None if there is none, faults as notes."""
    file = folder / CASES_FILE
    if not file.exists():
        return None
    from ..scores import METRICS, read_cases  # deferred: it takes seconds, and a search needs it not

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
        "summary": _read_summary(folder / SUMMARY_FILE, notes),
    }


def _read_summary(file: Path, notes: list[str]) -> dict[str, Any] | None:
    try:
        summary = json.loads(file.read_text(), parse_constant=lambda _: None)
        if not isinstance(summary.get("classes"), dict):
            raise ValueError("no classes in it")
    except FileNotFoundError:
        notes.append(f"{file}: missing, so that no intervals are shown; make it with uxnet evaluate")
        return None
    except (OSError, ValueError, AttributeError) as error:
        notes.append(f"{file}: cannot be read ({error}); make it again with uxnet evaluate")
        return None
    keys = (
        "mean_dice",
        "mean_dice_interval_95",
        "num_cases",
        "tolerance_mm",
        "volume_unit",
        "classes",
        "warnings",
    )
    return {key: summary.get(key) for key in keys}


def _number(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None
