"""The paired test of two networks on the same cases."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

MIN_CASES = 6
"""With fewer cases that differ, the smallest p that the two-sided test can give is above 0.05 (5 cases: 0.0625)."""
ROUNDED = 12
"""Decimals of a difference: means of the same numbers in another order are the same."""


class PairedTest(NamedTuple):
    """Two networks on the cases that both were scored on.

    Attributes:
        difference: mean over the cases of the second's Dice minus the first's; None without a common case.
        p: of Wilcoxon's signed-rank test, two-sided; None if it tells nothing.
        num_cases: common cases.
        remark: why there is no p, or what it is to be taken with; empty if nothing.
    """

    difference: float | None
    p: float | None
    num_cases: int
    remark: str = ""


def paired_test(first: pd.Series, second: pd.Series) -> PairedTest:
    """Wilcoxon's signed-rank test of the differences per case, cases without a difference left out (Wilcoxon 1945).

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
