"""A comparison as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_space.errors import UserError

from ..runs.csv_cells import cell
from ..runs.files import write_files
from ..runs.names import COMPARISON_NAME
from .contrasts import Contrast
from .display import explanation, table_cells
from .intervals import Interval
from .picture import comparison_picture
from .row import METRICS, Row
from .table import Comparison

ENDINGS = ("md", "csv", "json", "png")
FORMAT, VERSION = "uxnet-comparison", 2


def markdown(comparison: Comparison, output: Path) -> str:
    """The table, how to read it, and the notes; paths relative to the folder ``output``."""
    heading, rows = table_cells(comparison)
    lines = [_markdown_row(heading), _markdown_row(["---", *("---:" for _ in heading[1:])])]
    lines += [_markdown_row(row) for row in rows]
    lines += ["", *explanation(comparison)]
    if comparison.notes:
        lines += ["", "Notes:", "", *(f"- {note}" for note in _relative_notes(comparison, output))]
    return "\n".join(lines) + "\n"


def to_dict(comparison: Comparison, output: Path) -> dict[str, Any]:
    """All numbers for JSON, with paths relative to ``output``, so that they hold anywhere."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "classes": list(comparison.class_names),
        "equal": comparison.equal,
        "primary": comparison.primary,
        "is_primary_named": comparison.is_primary_named,
        "rows": [_row_dict(row, output) for row in comparison.rows],
        "notes": _relative_notes(comparison, output),
        "explanation": explanation(comparison),
    }


def csv_text(comparison: Comparison) -> str:
    """One line for each row; an empty field is a number that does not exist."""
    stream = io.StringIO()
    rows = [_csv_row(row, comparison.class_names) for row in comparison.rows]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([cell(name) for name in rows[0]])
    writer.writerows(
        [cell(value) if isinstance(value, str) else value for value in row.values()] for row in rows
    )
    return stream.getvalue()


def write_comparison(comparison: Comparison, output: Path) -> list[Path]:
    """Writes ``comparison.md``, ``.csv``, ``.json`` and ``.png`` to a folder.

    All files are complete before any takes its place.

    Raises:
        UserError: if the folder or a file cannot be written.
    """
    contents = {
        "md": markdown(comparison, output).encode(),
        "csv": csv_text(comparison).encode(),
        "json": (
            json.dumps(to_dict(comparison, output), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        ).encode(),
        "png": comparison_picture(comparison),
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_files({output / f"{COMPARISON_NAME}.{ending}": content for ending, content in contents.items()})
    except OSError as error:
        raise UserError(
            f"{output}: the comparison cannot be written ({error.strerror}); free space or give another folder"
        ) from None
    return [output / f"{COMPARISON_NAME}.{ending}" for ending in contents]


def refuse_output(output: Path, force: bool) -> None:
    """Raises a UserError if a comparison cannot or should not go to the folder ``output``."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file, expected a folder for {COMPARISON_NAME}.md and so on")
    for ending in ENDINGS:
        if (output / f"{COMPARISON_NAME}.{ending}").exists() and not force:
            raise UserError(
                f"{output / COMPARISON_NAME}.{ending}: exists already; give another folder, or --force to overwrite it"
            )


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _row_dict(row: Row, output: Path) -> dict[str, Any]:
    return {
        "network": row.name,
        "architectures": sorted({_relative_architecture(t.architecture, output) for t in row.trainings}),
        "num_genotypes": row.num_genotypes,
        "num_runs": len(row.trainings),
        "folds": sorted({training.result["fold"] for training in row.trainings}),
        "seeds": sorted({training.result["seed"] for training in row.trainings}),
        "num_cases": len(row.case_dice),
        "dice": row.dice._asdict(),
        "interval": _interval_dict(row.interval),
        "sd_between_runs": row.sd_between_runs,
        "classes": {
            name: {metric: statistic._asdict() for metric, statistic in metrics.items()}
            for name, metrics in row.classes.items()
        },
        "parameters": row.parameters,
        "multiply_adds": row.multiply_adds,
        "minutes": row.minutes,
        "search_minutes": row.search_minutes,
        "peak_memory_gib": row.peak_memory_gib,
        "against_first": None if row.contrast is None else _contrast_dict(row.contrast),
        "folders": [_relative(training.folder, output) for training in row.trainings],
    }


def _contrast_dict(contrast: Contrast) -> dict[str, Any]:
    over_cases, over_runs = contrast.over_cases, contrast.over_runs
    return {
        "difference": contrast.difference,
        "interval": _interval_dict(contrast.interval),
        "is_primary": contrast.is_primary,
        "wilcoxon_over_cases": {
            "p": over_cases.p,
            "p_holm": contrast.holm_over_cases,
            "num_cases": over_cases.num_units,
            "remark": over_cases.remark,
        },
        "sign_flips_over_runs": {
            "difference": over_runs.difference,
            "p": over_runs.p,
            "p_holm": contrast.holm_over_runs,
            "num_runs": over_runs.num_units,
            "remark": over_runs.remark,
        },
    }


def _interval_dict(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else interval._asdict()


def _relative(path: Path, output: Path) -> str:
    return Path(os.path.relpath(path.absolute(), output.absolute())).as_posix()


def _relative_architecture(architecture: str, output: Path) -> str:
    """The name, or the genotype's file.

    A path relative to a configuration stays as it is.
    """
    path = Path(architecture)
    return _relative(path, output) if path.is_absolute() else architecture


def _relative_notes(comparison: Comparison, output: Path) -> list[str]:
    """The notes with every absolute path of a training or a genotype made relative."""
    architectures = {Path(t.architecture) for row in comparison.rows for t in row.trainings}
    known = [path for path in {*comparison.folders, *architectures} if path.is_absolute()]
    notes = list(comparison.notes)
    for path in sorted(
        known, key=lambda path: len(str(path)), reverse=True
    ):  # an inner folder before the outer one
        notes = [note.replace(str(path), _relative(path, output)) for note in notes]
    return notes


def _csv_row(row: Row, class_names: tuple[str, ...]) -> Mapping[str, Any]:
    values: dict[str, Any] = {
        "network": row.name,
        "num_runs": len(row.trainings),
        "num_cases": len(row.case_dice),
        "dice_mean": row.dice.mean,
        "dice_low": row.interval.low if row.interval else None,
        "dice_high": row.interval.high if row.interval else None,
        "dice_sd": row.dice.sd,
        "dice_sd_between_runs": row.sd_between_runs,
    }
    for name in class_names:
        for metric in METRICS:
            statistic = row.classes[name][metric]
            values |= {f"{name}_{metric}_mean": statistic.mean, f"{name}_{metric}_sd": statistic.sd}
    against = row.contrast
    interval = against.interval if against else None
    return values | {
        "parameters": row.parameters,
        "multiply_adds": row.multiply_adds,
        "minutes": row.minutes,
        "search_minutes": row.search_minutes,
        "peak_memory_gib": row.peak_memory_gib,
        "difference": against.difference if against else None,
        "difference_low": interval.low if interval else None,
        "difference_high": interval.high if interval else None,
        "is_primary": int(against is not None and against.is_primary),
        "p_over_cases": against.over_cases.p if against else None,
        "p_over_cases_holm": against.holm_over_cases if against else None,
        "p_over_runs": against.over_runs.p if against else None,
        "p_over_runs_holm": against.holm_over_runs if against else None,
        "remark_over_cases": against.over_cases.remark if against else "",
        "remark_over_runs": against.over_runs.remark if against else "",
    }
