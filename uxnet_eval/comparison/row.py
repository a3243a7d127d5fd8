"""One row of a comparison: all trainings of one network or label, over folds and seeds.

The scores of a case are first averaged over the seeds (and over the genotypes of the row of random
ones). Means and standard deviations are then taken over the cases, so that a case counts once
however often it was scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from statistics import mean, stdev
from typing import NamedTuple

import pandas as pd

from .contrasts import Contrast
from .intervals import Interval, mean_interval
from .trainings import Training

METRICS = ("dice", "hd95_mm", "nsd")


class Statistic(NamedTuple):
    """Over the cases; None where it does not exist."""

    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Row:
    """One network, or all trainings of one label.

    Attributes:
        name: its label.
        trainings: its finished trainings.
        case_dice: mean Dice over the foreground classes of each case, by case id; the picture and
            the test over cases are made from it.
        scores: the same for each run, see :func:`.intervals.mean_interval`.
        dice: mean over the classes of each class's mean over cases; SD of ``case_dice``.
        interval: of the mean Dice.
        classes: per class and metric of ``METRICS``.
        sd_between_runs: SD of the mean Dice between seeds (of random genotypes: and between
            genotypes), each over the same folds; None if there is one, or their folds differ.
        num_genotypes: different genotypes; 1 for a baseline.
        runs_per_case: trainings of a network that a case's scores are means over.
        parameters, multiply_adds, minutes: mean over the trainings.
        search_minutes: mean time of search and selection over the trainings that say it; None: none
            does.
        peak_memory_gib: the largest of the trainings.
        contrast: against the first row; None for the first row itself.
    """

    name: str
    trainings: tuple[Training, ...]
    case_dice: pd.Series
    scores: pd.DataFrame
    dice: Statistic
    interval: Interval | None
    classes: dict[str, dict[str, Statistic]]
    sd_between_runs: float | None
    num_genotypes: int
    runs_per_case: float
    parameters: float
    multiply_adds: float
    minutes: float
    search_minutes: float | None
    peak_memory_gib: float
    contrast: Contrast | None = None


def row_of(name: str, members: Sequence[tuple[str, Training]], class_names: tuple[str, ...]) -> Row:
    """The row of some trainings, each with its label, without a contrast."""
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
    dice = Statistic(mean(means) if means else None, _statistic(case_dice).sd)
    by_run = pd.concat([_case_dice(label, training) for label, training in members], ignore_index=True)
    num_scored = sum(training.cases["case_id"].nunique() for training in trainings)
    prices = [result["search_minutes"] for result in results if result.get("search_minutes") is not None]
    return Row(
        name=name,
        trainings=trainings,
        case_dice=case_dice,
        scores=by_run,
        dice=dice,
        interval=None if dice.mean is None else mean_interval(by_run, dice.mean),
        classes=classes,
        sd_between_runs=_sd_between_runs(members),
        num_genotypes=len({(training.architecture, training.genotype) for training in trainings}),
        runs_per_case=num_scored / max(1, len(case_dice)) / len({label for label, _ in members}),
        parameters=mean(result["parameters"] for result in results),
        multiply_adds=mean(result["multiply_adds"] for result in results),
        minutes=mean(result["minutes"] for result in results),
        search_minutes=mean(prices) if prices else None,
        peak_memory_gib=max(result["peak_memory_gib"] for result in results),
    )


def _case_dice(label: str, training: Training) -> pd.DataFrame:
    """A training's mean Dice over the classes of each case."""
    dice = training.cases.groupby("case_id")["dice"].mean().reset_index()
    fold, seed = training.result["fold"], training.result["seed"]
    return dice.assign(fold=fold, seed=seed, genotype=f"{label} {training.genotype}")


def _statistic(values: pd.Series) -> Statistic:
    counted = values.dropna()
    if counted.empty:
        return Statistic(None, None)
    return Statistic(float(counted.mean()), float(counted.std(ddof=1)) if len(counted) > 1 else None)


def _sd_between_runs(members: Sequence[tuple[str, Training]]) -> float | None:
    runs: dict[tuple[str, object, int], dict[int, float]] = {}
    for label, training in members:
        fold, seed = training.result["fold"], training.result["seed"]
        searches = (number for number in count() if fold not in runs.get((label, seed, number), {}))
        runs.setdefault((label, seed, next(searches)), {})[fold] = training.result["default"]
    if len(runs) < 2 or len({frozenset(folds) for folds in runs.values()}) > 1:
        return None
    return stdev(mean(folds.values()) for folds in runs.values())
