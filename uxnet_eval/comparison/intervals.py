"""Intervals of a mean Dice, and of a difference between two, that know of other cases and runs.

A run is one training, with the search before it where each has its own. The variation between runs
is crossed with that between cases: all runs of a fold are scored on the same cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LEVEL = 0.95
NUM_RESAMPLES = 4000
SEED = 0

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """Ends of an interval of 95 %, and whether it knows of other runs than those that were made."""

    low: float
    high: float
    over_runs: bool


class FoldSpread(NamedTuple):
    """What varies in one fold.

    Attributes:
        runs: groups of runs, each the deviations of its runs' means from the group's mean; the
            groups are drawn from independently.
        cases: deviations of the cases' means from the fold's mean.
    """

    runs: tuple[Floats, ...]
    cases: Floats


def mean_interval(scores: pd.DataFrame, mean: float) -> Interval | None:
    """The interval of a network's mean Dice, cut to 0 to 1.

    Args:
        scores: columns ``fold``, ``seed``, ``genotype``, ``case_id``, ``dice``: a row for each run
            and case.
        mean: of the table.

    Returns:
        None if nothing varies: a single case of a single run.
    """
    spreads = []
    for _, of_fold in scores.groupby("fold"):
        table = _runs_by_cases(of_fold)
        if table.shape[1]:
            spreads.append(FoldSpread((_deviations(table, axis=1),), _deviations(table, axis=0)))
    found = two_level_bootstrap(mean, spreads)
    return found and Interval(max(0.0, found.low), min(1.0, found.high), found.over_runs)


def difference_interval(first: pd.DataFrame, second: pd.DataFrame, mean: float) -> Interval | None:
    """The interval of the mean difference of two networks on the cases that both were scored on.

    Where both have the same seeds in a fold, the runs of one seed are drawn together; else the runs
    of either network are drawn apart.

    Args:
        first: see :func:`mean_interval`.
        second: likewise.
        mean: of the second's Dice minus the first's.
    """
    spreads = []
    for fold in sorted(set(first["fold"]) & set(second["fold"])):
        one, other = (_runs_by_cases(scores[scores["fold"] == fold]) for scores in (first, second))
        common = one.columns.intersection(other.columns)
        one, other = one[common], other[common]
        if not len(common):
            continue
        cases = other.mean() - one.mean()
        if one.index.name == other.index.name == "seed" and one.index.equals(other.index):
            runs: tuple[Floats, ...] = (_deviations(other - one, axis=1),)
        else:
            runs = (_deviations(one, axis=1), _deviations(other, axis=1))
        spreads.append(FoldSpread(runs, (cases - cases.mean()).to_numpy()))
    return two_level_bootstrap(mean, spreads)


def two_level_bootstrap(mean: float, folds: Sequence[FoldSpread]) -> Interval | None:
    """The percentile interval of ``mean`` under resampling of runs and of cases.

    In every fold, runs and cases are drawn with replacement, one fewer than there are, so that the
    variance of a mean has no bias (Rao and Wu 1988). The two levels are drawn apart and add up. A
    few runs say little of their own spread: the runs' part of each resample is divided by sqrt(chi2
    / df), as in Student's t, where df sums runs - 1 over folds and groups. Without it, the interval
    of three runs covers the truth in 4 of 5 cases only. The seed is fixed.

    Args:
        mean: the middle, over all cases.
        folds: what varies; folds weigh by their number of cases.
    """
    random = np.random.default_rng(SEED)
    num_cases = sum(len(fold.cases) for fold in folds)
    of_runs, of_cases = np.zeros(NUM_RESAMPLES), np.zeros(NUM_RESAMPLES)
    degrees, over_runs = 0, bool(folds)
    for fold in folds:
        weight = len(fold.cases) / num_cases
        of_cases += weight * _resampled_means(random, fold.cases)
        for group in fold.runs:
            of_runs += weight * _resampled_means(random, group)
            degrees += len(group) - 1
            over_runs &= len(group) > 1
    if degrees:
        of_runs /= np.sqrt(random.chisquare(degrees, NUM_RESAMPLES) / degrees)
    deviations = of_runs + of_cases
    if not deviations.any():
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(deviations, (tail, 1 - tail))
    return Interval(mean + float(low), mean + float(high), over_runs)


def run_means(scores: pd.DataFrame, cases: pd.Index) -> pd.Series:
    """The mean Dice of each run over these cases, by fold and seed; repeated runs are averaged."""
    kept = scores[scores["case_id"].isin(cases)]
    return kept.groupby(["fold", "seed"])["dice"].mean()


def _runs_by_cases(scores: pd.DataFrame) -> pd.DataFrame:
    """Runs by cases, without the cases that a run has no Dice of.

    The unit is the seed if each occurs once, else the genotype: several genotypes of one seed are
    several searches or draws, and vary more than their seeds do.
    """
    if scores.duplicated(["seed", "case_id"]).any():
        table = scores.groupby(["genotype", "case_id"])["dice"].mean().unstack("case_id")
    else:
        table = scores.pivot(index="seed", columns="case_id", values="dice")
    return table.dropna(axis="columns")


def _deviations(table: pd.DataFrame, axis: int) -> Floats:
    means = table.to_numpy().mean(axis=axis)
    deviations: Floats = means - means.mean()
    return deviations


def _resampled_means(random: np.random.Generator, deviations: Floats) -> Floats:
    num = len(deviations)
    if num < 2:
        return np.zeros(NUM_RESAMPLES)
    means: Floats = random.choice(deviations, (NUM_RESAMPLES, num - 1)).mean(axis=1)
    return means
