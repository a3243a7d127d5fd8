"""Paired tests of two networks: over cases, and over runs; and Holm's correction for several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import permutation_test, wilcoxon

MIN_CASES = 6
"""With fewer cases that differ, the smallest p that the two-sided test can give is above 0.05 (5
cases: 0.0625)."""
MIN_RUNS = 3
"""With fewer runs the sign-flip test gives nothing below 0.5."""
MAX_FLIPS = 10_000
"""Up to this many sign patterns all are counted; of more runs, this many are drawn with a fixed
seed."""
ROUNDED = 12
"""Decimals of a difference: means of the same numbers in another order are the same."""


class PairedTest(NamedTuple):
    """Two networks on the units (cases or runs) that both have.

    Attributes:
        difference: mean over the units of the second's Dice minus the first's; None without a
            common one.
        p: two-sided; None if it tells nothing.
        num_units: common cases or runs.
        remark: why there is no p, or what it is to be taken with; empty if nothing.
    """

    difference: float | None
    p: float | None
    num_units: int
    remark: str = ""


def wilcoxon_over_cases(first: pd.Series, second: pd.Series) -> PairedTest:
    """Wilcoxon's signed-rank test of the differences per case (Wilcoxon 1945).

    Cases without a difference are left out. It speaks of other cases, for these very trainings.

    Args:
        first: Dice of each case, by case id; NaN where it has none.
        second: likewise, of the network that is compared with it.
    """
    both = pd.concat([first, second], axis=1, join="inner").dropna()
    num_cases = len(both)
    if num_cases == 0:
        return PairedTest(None, None, 0, "no common case")
    differences = (both.iloc[:, 1] - both.iloc[:, 0]).to_numpy().round(ROUNDED)
    mean, num_different = float(differences.mean()), int(np.count_nonzero(differences))
    if num_different == 0:
        return PairedTest(mean, None, num_cases, "the same in every case")
    if num_different < MIN_CASES:
        return PairedTest(
            mean, None, num_cases, f"{num_different} cases differ, too few for a test ({MIN_CASES})"
        )
    return PairedTest(mean, float(wilcoxon(differences, zero_method="wilcox").pvalue), num_cases)


def sign_flips_over_runs(first: pd.Series, second: pd.Series) -> PairedTest:
    """The sign-flip permutation test of the differences per run (Fisher 1935).

    Under the null hypothesis each difference is as likely with either sign; p is the share of sign
    patterns whose mean is as far from 0. It speaks of other trainings (and searches), on these
    cases. Trainings of several folds share cases to learn from, so they are not quite independent.

    Args:
        first: mean Dice of each run, by fold and seed.
        second: likewise, of the network that is compared with it.
    """
    both = pd.concat([first, second], axis=1, join="inner").dropna()
    num_runs = len(both)
    if num_runs == 0:
        return PairedTest(None, None, 0, "no common run")
    differences = (both.iloc[:, 1] - both.iloc[:, 0]).to_numpy().round(ROUNDED)
    mean = float(differences.mean())
    if num_runs < MIN_RUNS:
        word = "run" if num_runs == 1 else "runs"
        return PairedTest(mean, None, num_runs, f"{num_runs} {word}, too few for a test ({MIN_RUNS})")
    if not differences.any():
        return PairedTest(mean, None, num_runs, "the same in every run")
    outcome = permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=MAX_FLIPS,
        rng=np.random.default_rng(0),
    )
    return PairedTest(mean, float(outcome.pvalue), num_runs)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Each p corrected by Holm's step-down method for the number of those that exist (Holm 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is below an earlier
    one, none above 1.
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, place) in enumerate(order):
        least = max(least, min(1.0, p * (len(order) - rank)))
        corrected[place] = least
    return corrected
