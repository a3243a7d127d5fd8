"""A comparison as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from search_space.errors import UserError

from ..runs.csv_cells import cell
from ..runs.files import write_files
from ..runs.names import COMPARISON_NAME
from .picture import comparison_picture
from .significance import MIN_CASES, PairedTest
from .table import METRICS, Comparison, Row, Statistic

ENDINGS = ("md", "csv", "json", "png")
FORMAT, VERSION = "uxnet-comparison", 1


def explanation(comparison: Comparison) -> list[str]:
    """How the numbers come about, in sentences for beneath the table."""
    first = comparison.rows[0].name
    num_tests = len(comparison.rows) - 1
    return [
        "Dice is the mean ± SD over the cases of the held-out folds. A case's scores are averaged over the seeds first "
        "(of random genotypes, then over the genotypes), so a case counts once.",
        "Between runs: SD of the mean Dice between seeds, of random genotypes between seeds and genotypes.",
        f"Difference and p are against {first}: mean difference of the cases' Dice, and Wilcoxon's signed-rank test, paired "
        f"by case, two-sided, not corrected for the {num_tests} test{'s' if num_tests != 1 else ''}; no p where fewer than "
        f"{MIN_CASES} cases differ.",
        "The test speaks of other cases of the same kind, not of other trainings: weigh it against the SD between runs.",
        "Multiply-adds are of one patch; minutes and parameters are means over the runs, memory is their largest.",
    ]


def table_cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The heading and the rows of the table, as text."""
    heading = ["network", "Dice", *comparison.class_names, "between runs", "parameters", "multiply-adds"]
    heading += ["minutes", "memory", "runs", "difference", "p"]
    return heading, [_cells(row, comparison.class_names) for row in comparison.rows]


BRIEF = ("network", "Dice", "parameters", "minutes", "runs", "difference", "p")


def terminal_table(comparison: Comparison) -> Table:
    """The columns ``BRIEF`` of the table; the files hold all."""
    heading, rows = table_cells(comparison)
    shown = [heading.index(title) for title in BRIEF]
    table = Table()
    for place in shown:
        is_name = place == 0
        table.add_column(heading[place], justify="left" if is_name else "right", no_wrap=not is_name)
    for row in rows:
        table.add_row(*(Text(row[place]) for place in shown))
    return table


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
    """All numbers, ready for JSON; paths relative to the folder ``output``, so that they fit on other machines."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "classes": list(comparison.class_names),
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
    """Writes ``comparison.md``, ``.csv``, ``.json`` and ``.png`` to a folder; all are complete before any takes its place.

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
        output.mkdir(exist_ok=True)
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
    if not output.absolute().parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist; make it first")


def _cells(row: Row, class_names: tuple[str, ...]) -> list[str]:
    test = row.test
    return [
        row.name,
        _mean_sd(row.dice),
        *(_mean_sd(row.classes[name]["dice"]) for name in class_names),
        "-" if row.sd_between_runs is None else f"{row.sd_between_runs:.4f}",
        _short(row.parameters),
        _short(row.multiply_adds),
        f"{row.minutes:.1f}",
        f"{row.peak_memory_gib:.1f} GiB",
        str(len(row.trainings)),
        "-" if test is None or test.difference is None else f"{test.difference:+.4f}",
        _p(test),
    ]


def _mean_sd(statistic: Statistic) -> str:
    if statistic.mean is None:
        return "-"
    return f"{statistic.mean:.4f}" + ("" if statistic.sd is None else f" ± {statistic.sd:.4f}")


def _short(number: float) -> str:
    """Three digits with the unit G, M or k."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _p(test: PairedTest | None) -> str:
    if test is None:
        return "-"
    if test.p is None:
        return test.remark
    return "< 0.0001" if test.p < 1e-4 else f"{test.p:.4f}"


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _row_dict(row: Row, output: Path) -> dict[str, Any]:
    test = row.test
    return {
        "network": row.name,
        "architectures": sorted({_relative_architecture(t.architecture, output) for t in row.trainings}),
        "num_genotypes": row.num_genotypes,
        "num_runs": len(row.trainings),
        "folds": sorted({training.result["fold"] for training in row.trainings}),
        "seeds": sorted({training.result["seed"] for training in row.trainings}),
        "num_cases": len(row.case_dice),
        "dice": row.dice._asdict(),
        "sd_between_runs": row.sd_between_runs,
        "classes": {
            name: {metric: statistic._asdict() for metric, statistic in metrics.items()}
            for name, metrics in row.classes.items()
        },
        "parameters": row.parameters,
        "multiply_adds": row.multiply_adds,
        "minutes": row.minutes,
        "peak_memory_gib": row.peak_memory_gib,
        "against_first": None if test is None else test._asdict(),
        "folders": [_relative(training.folder, output) for training in row.trainings],
    }


def _relative(path: Path, output: Path) -> str:
    return Path(os.path.relpath(path.absolute(), output.absolute())).as_posix()


def _relative_architecture(architecture: str, output: Path) -> str:
    """The name, or the genotype's file; one that was given relative to a configuration stays as it is."""
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
        "dice_sd": row.dice.sd,
        "dice_sd_between_runs": row.sd_between_runs,
    }
    for name in class_names:
        for metric in METRICS:
            statistic = row.classes[name][metric]
            values |= {f"{name}_{metric}_mean": statistic.mean, f"{name}_{metric}_sd": statistic.sd}
    test = row.test or PairedTest(None, None, len(row.case_dice))
    return values | {
        "parameters": row.parameters,
        "multiply_adds": row.multiply_adds,
        "minutes": row.minutes,
        "peak_memory_gib": row.peak_memory_gib,
        "difference": test.difference,
        "p": test.p,
        "remark": test.remark,
    }
