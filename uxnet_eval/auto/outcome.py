"""The outcome: found network, U-Net and both on the left-out fold, and the stages' minutes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from search_space.reading import read_json

from ..comparison.intervals import difference_interval
from ..evaluation.scores import read_cases
from ..runs.names import CASES_NAME, RESULT_NAME, SUMMARY_NAME
from .ensembles import evaluation_folder, member_checkpoints, own_folds_dice
from .record import AutoRecord
from .schedule import BOTH, SEARCHED, STAGES, UNET, Schedule


def read_outcome(folder: Path, schedule: Schedule, chosen: str) -> dict[str, Any]:
    """What came out, as plain values: a row for each network, their difference, and ``chosen``."""
    rows = {label: _row(folder, schedule, label) for label in schedule.ensembles}
    outcome: dict[str, Any] = {
        "networks": rows,
        "members": len(schedule.members),
        "chosen": chosen,
        "left_out_fold": schedule.outer_fold,
    }
    if UNET in rows:
        outcome["compared_on"] = list(schedule.compared_on)
    if BOTH in rows:
        outcome["own_folds_dice"] = own_folds_dice(folder, schedule)
    if UNET in rows and None not in (rows[SEARCHED]["dice"], rows[UNET]["dice"]):
        difference = rows[UNET]["dice"] - rows[SEARCHED]["dice"]
        scores = [
            _mean_of_cases(evaluation_folder(folder, label), schedule.outer_fold)
            for label in (SEARCHED, UNET)
        ]
        interval = difference_interval(scores[0], scores[1], difference)
        outcome["difference"] = {
            "dice": difference,
            "interval_95": None if interval is None else [interval.low, interval.high],
        }
    return outcome


def _row(folder: Path, schedule: Schedule, label: str) -> dict[str, Any]:
    summary = read_json(evaluation_folder(folder, label) / SUMMARY_NAME)
    paths = member_checkpoints(folder, schedule, label)
    results = [read_json(path.with_name(RESULT_NAME)) for path in paths]
    of_each = results[: len(paths) // len(schedule.members)]
    return {
        "dice": summary["mean_dice"],
        "interval_95": summary["mean_dice_interval_95"],
        "classes": {name: entry["dice"]["mean"] for name, entry in summary["classes"].items()},
        "hd95_mm": {name: entry["hd95_mm"]["mean"] for name, entry in summary["classes"].items()},
        "num_cases": summary["num_cases"],
        "parameters": sum(result["parameters"] for result in of_each),
        "multiply_adds": sum(result["multiply_adds"] for result in of_each),
        "minutes": sum(result["minutes"] for result in results),
    }


def _mean_of_cases(folder: Path, fold: int) -> pd.DataFrame:
    """A row for each case, as one run of the left-out fold."""
    dice = read_cases(folder / CASES_NAME).groupby("case_id")["dice"].mean().reset_index()
    return dice.assign(fold=fold, seed=0, genotype="")


def outcome_table(outcome: Mapping[str, Any]) -> Table:
    """The networks for the terminal, a column each: 80 columns hold any number of classes."""
    rows = outcome["networks"]
    first = next(iter(rows.values()))
    table = Table(title=f"Dice on the {first['num_cases']} cases of the left-out fold", title_justify="left")
    table.add_column("")
    for label in rows:
        table.add_column(label, justify="right")
    for cells in zip(_headings(first), *map(_cells, rows.values()), strict=True):
        table.add_row(*cells)
    return table


def outcome_markdown(outcome: Mapping[str, Any], record: AutoRecord) -> str:
    """Both tables and the sentences, for ``table.md``."""
    rows = outcome["networks"]
    headings = ["network", *_headings(next(iter(rows.values())))]
    lines = [_line(headings), _line(["---", *["---:"] * (len(headings) - 1)])]
    lines += [_line([label, *_cells(row)]) for label, row in rows.items()]
    lines += ["", *sentences(outcome), "", _line(STAGE_HEADINGS), _line(["---", "---:", "---:"])]
    lines += [_line(cells) for cells in stage_rows(record)]
    return "\n".join(lines) + "\n"


def sentences(outcome: Mapping[str, Any]) -> list[str]:
    """What the table means, in words."""
    members = outcome["members"]
    each = f"Each row is an ensemble of {members} trainings" if members > 1 else "Each row is one training"
    if BOTH in outcome["networks"]:
        each += f", the last one of all {2 * members}"
    found = [f"{each}; no stage before saw these cases."]
    difference = outcome.get("difference")
    if difference is not None:
        text = f"U-Net minus searched: {difference['dice']:+.4f}"
        if difference["interval_95"] is not None:
            text += " ({:+.4f} to {:+.4f}, over these cases alone)".format(*difference["interval_95"])
            low, high = difference["interval_95"]
            if low > 0:
                text += "; the U-Net is better here"
            elif high >= 0:
                text += "; these cases do not tell which is better"
        found.append(text + ".")
    if "compared_on" in outcome:
        folds = ", ".join(map(str, outcome["compared_on"]))
        why = "the two were not compared beforehand"
        if "own_folds_dice" in outcome:
            dice = ", ".join(f"{label} {value:.4f}" for label, value in outcome["own_folds_dice"].items())
            why = f"the best on their own folds {folds}: {dice}"
        elif folds:
            why = f"the better on fold {folds}"
        found.append(f"Segments new scans: {outcome['chosen']} ({why}).")
    return found


STAGE_HEADINGS = ["stage", "predicted minutes", "minutes"]


def stage_rows(record: AutoRecord) -> list[list[str]]:
    """Predicted and true minutes of each stage, and of all."""
    planned = record.schedule
    assert planned is not None
    predicted = planned.minutes
    spent = {name: record.stages[name].spent_s / 60 for name in STAGES}
    rows = [[name, _minutes(predicted[name]), _minutes(spent[name])] for name in STAGES]
    return [*rows, ["all", _minutes(sum(predicted.values())), _minutes(sum(spent.values()))]]


def _minutes(value: float) -> str:
    """Short stages with two digits, so that none looks as if it had not run."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def stage_table(record: AutoRecord) -> Table:
    """:func:`stage_rows` for the terminal."""
    table = Table(title="Time", title_justify="left")
    for heading, justify in zip(STAGE_HEADINGS, ("left", "right", "right"), strict=True):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for cells in stage_rows(record):
        table.add_row(*cells)
    return table


def _headings(row: Mapping[str, Any]) -> list[str]:
    return ["Dice", "95 %", *row["classes"], "parameters", "multiply-adds", "minutes"]


def _cells(row: Mapping[str, Any]) -> list[str]:
    dice = "-" if row["dice"] is None else f"{row['dice']:.4f}"
    interval = "-" if row["interval_95"] is None else "{:.3f} to {:.3f}".format(*row["interval_95"])
    classes = ["-" if value is None else f"{value:.3f}" for value in row["classes"].values()]
    cost = [f"{row['parameters']:,}", f"{row['multiply_adds'] / 1e9:.3g} G", f"{row['minutes']:.1f}"]
    return [dice, interval, *classes, *cost]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
