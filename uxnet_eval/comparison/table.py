"""Trainings as a table: a row for each network, over its folds and seeds.

The scores of a case are first averaged over the seeds (and over the genotypes of the row of random ones), then means
and standard deviations are taken over the cases, so that a case counts once however often it was scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import pandas as pd

from search_space.errors import UserError, nearest

from .labels import is_random, label_trainings
from .significance import PairedTest, paired_test
from .trainings import Training, Trainings

METRICS = ("dice", "hd95_mm", "nsd")
VARIED = (
    "network.architecture",
    "network.genotype",
    "network.base_channels",
    "train.fold",
    "train.seed",
    "runtime.",
    "output",
    "dataset",
)
"""Settings that may differ between the trainings of a fair comparison (the cases themselves are compared)."""
LIKE_SHARE = 0.1
"""Parameter counts that differ by more than this share from the first row's are noted."""


class Statistic(NamedTuple):
    """Over the cases; None where it does not exist."""

    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: its label.
        trainings: its finished trainings.
        case_dice: mean Dice over the foreground classes of each case, by case id; the picture and the test are made
            from it.
        dice: mean over the classes of each class's mean over cases; SD of ``case_dice``.
        classes: per class and metric of ``METRICS``.
        sd_between_runs: SD of the mean Dice between seeds (of random genotypes: and between genotypes), each over the
            same folds; None if there is one, or their folds differ.
        num_genotypes: 1, of the row of random genotypes their number.
        parameters, multiply_adds, minutes: mean over the trainings.
        peak_memory_gib: the largest of the trainings.
        test: against the first row; None for the first row itself.
    """

    name: str
    trainings: tuple[Training, ...]
    case_dice: pd.Series
    dice: Statistic
    classes: dict[str, dict[str, Statistic]]
    sd_between_runs: float | None
    num_genotypes: int
    parameters: float
    multiply_adds: float
    minutes: float
    peak_memory_gib: float
    test: PairedTest | None = None


@dataclass
class Comparison:
    """The rows, the class names (foreground), what a reader must know besides, and the folders that notes name."""

    rows: list[Row]
    class_names: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)


def compare(found: Trainings, *, first: str | None = None, each_random: bool = False) -> Comparison:
    """The table of all finished trainings.

    Args:
        found: the trainings, and the notes to keep.
        first: label or architecture of the row that the others are tested against; None: ``searched`` if it is there,
            else the first found.
        each_random: list every random genotype too, after the row of all of them.

    Raises:
        UserError: if the trainings have different classes, or there is no row ``first``.
    """
    notes = list(found.notes)
    trainings = _without_twins(found.finished, notes)
    class_names = _class_names(trainings)
    labels = label_trainings(trainings)
    groups: dict[str, list[tuple[str, Training]]] = {}
    for label, training in zip(labels, trainings, strict=True):
        if not is_random(training):
            groups.setdefault(label, []).append((label, training))
    drawn = [(label, t) for label, t in zip(labels, trainings, strict=True) if is_random(t)]
    if drawn:
        num = len({label for label, _ in drawn})
        groups[f"random genotypes, n={num}" if num > 1 else drawn[0][0]] = drawn
        if each_random and num > 1:
            for label, training in sorted(drawn, key=lambda pair: pair[0]):
                groups.setdefault(label, []).append((label, training))
    order = list(groups)
    chosen = _find_first(first, groups)
    order.insert(0, order.pop(order.index(chosen)))
    rows = [_row(name, groups[name], class_names) for name in order]
    rows[1:] = [
        Row(**{**vars(row), "test": paired_test(rows[0].case_dice, row.case_dice)}) for row in rows[1:]
    ]
    return Comparison(rows, class_names, notes + _fairness_notes(rows), found.folders)


def _without_twins(trainings: Sequence[Training], notes: list[str]) -> list[Training]:
    """Without trainings of the same network, fold and seed as an earlier one, which are noted."""
    kept: dict[tuple[str, str, object, object], Training] = {}
    for training in trainings:
        key = (training.architecture, training.genotype, training.result["fold"], training.result["seed"])
        if key in kept:
            notes.append(
                f"{training.folder}: {training.architecture}, fold {key[2]}, seed {key[3]} is there already in "
                f"{kept[key].folder}; left out"
            )
        else:
            kept[key] = training
    return list(kept.values())


def _class_names(trainings: Sequence[Training]) -> tuple[str, ...]:
    found = {tuple(dict.fromkeys(training.cases["class"])): training for training in trainings}
    if len({frozenset(names) for names in found}) > 1:
        described = "; ".join(f"{t.folder}: {', '.join(names)}" for names, t in found.items())
        raise UserError(f"the trainings have different classes ({described}); compare those of one data set")
    return next(iter(found))


def _find_first(first: str | None, groups: dict[str, list[tuple[str, Training]]]) -> str:
    if first is None:
        return "searched" if "searched" in groups else next(iter(groups))
    if first in groups:
        return first
    by_architecture = {
        training.architecture: name for name, members in groups.items() for _, training in members
    }
    if first not in by_architecture:
        known = [*groups, *by_architecture]
        raise UserError(f"--first {first}: no such row{nearest(first, known)}; there are {', '.join(groups)}")
    return by_architecture[first]


def _row(name: str, members: Sequence[tuple[str, Training]], class_names: tuple[str, ...]) -> Row:
    scores = pd.concat([training.cases.assign(label=label) for label, training in members])
    of_genotype = scores.groupby(["label", "case_id", "class"])[list(METRICS)].mean()
    averaged = of_genotype.groupby(["case_id", "class"]).mean().unstack("class")
    classes = {
        c: {metric: _statistic(averaged[metric].get(c, pd.Series(dtype=float))) for metric in METRICS}
        for c in class_names
    }
    means = [entry["dice"].mean for entry in classes.values() if entry["dice"].mean is not None]
    case_dice = averaged["dice"].mean(axis=1)
    trainings = tuple(training for _, training in members)
    results = [training.result for training in trainings]
    return Row(
        name=name,
        trainings=trainings,
        case_dice=case_dice,
        dice=Statistic(mean(means) if means else None, _statistic(case_dice).sd),
        classes=classes,
        sd_between_runs=_sd_between_runs(members),
        num_genotypes=len({label for label, _ in members}),
        parameters=mean(result["parameters"] for result in results),
        multiply_adds=mean(result["multiply_adds"] for result in results),
        minutes=mean(result["minutes"] for result in results),
        peak_memory_gib=max(result["peak_memory_gib"] for result in results),
    )


def _statistic(values: pd.Series) -> Statistic:
    counted = values.dropna()
    if counted.empty:
        return Statistic(None, None)
    return Statistic(float(counted.mean()), float(counted.std(ddof=1)) if len(counted) > 1 else None)


def _sd_between_runs(members: Sequence[tuple[str, Training]]) -> float | None:
    runs: dict[tuple[str, object], dict[int, float]] = {}
    for label, training in members:
        run = runs.setdefault((label, training.result["seed"]), {})
        run[training.result["fold"]] = training.result["default"]
    if len(runs) < 2 or len({frozenset(folds) for folds in runs.values()}) > 1:
        return None
    return stdev(mean(folds.values()) for folds in runs.values())


def _fairness_notes(rows: Sequence[Row]) -> list[str]:
    """What makes the rows unequal: settings, parameter counts, cases."""
    notes = []
    first = rows[0]
    reference = first.trainings[0].settings
    for row in rows:
        names = sorted(
            {
                name
                for training in row.trainings
                for name in training.settings.keys() | reference.keys()
                if training.settings.get(name) != reference.get(name) and not name.startswith(VARIED)
            }
        )
        if names:
            notes.append(
                f"{row.name}: was not trained under the first row's settings; other {', '.join(names)}"
            )
        if abs(row.parameters / first.parameters - 1) > LIKE_SHARE:
            notes.append(
                f"{row.name}: has {row.parameters / first.parameters:.2f} times the first row's parameters"
            )
        if set(row.case_dice.index) != set(first.case_dice.index):
            common = len(set(row.case_dice.index) & set(first.case_dice.index))
            notes.append(
                f"{row.name}: was scored on {len(row.case_dice)} cases, the first row on {len(first.case_dice)}, "
                f"{common} of them the same; their means cannot be compared, the test takes the common cases"
            )
        runs, first_runs = _runs_per_case(row), _runs_per_case(first)
        if runs != first_runs:
            notes.append(
                f"{row.name}: a case's scores are means over {runs:.3g} trainings of a network, the first row's over "
                f"{first_runs:.3g}"
            )
    return notes


def _runs_per_case(row: Row) -> float:
    num_scored = sum(training.cases["case_id"].nunique() for training in row.trainings)
    return num_scored / max(1, len(row.case_dice)) / row.num_genotypes
