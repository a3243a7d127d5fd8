"""Each row against the first: difference, interval, two tests, and the primary contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from .intervals import Interval, difference_interval, run_means
from .significance import PairedTest, holm, sign_flips_over_runs, wilcoxon_over_cases


@dataclass(frozen=True)
class Contrast:
    """A row against the first one.

    Attributes:
        difference: mean over the common cases of the row's Dice minus the first row's; None without
            a common case.
        interval: of the difference.
        over_cases: Wilcoxon's test with the case as the unit.
        over_runs: the sign-flip test with the run as the unit.
        is_primary: whether it is the contrast that is tested without correction.
        holm_over_cases: the test's p, corrected by Holm; None for the primary contrast, or without
            a p.
        holm_over_runs: likewise.
    """

    difference: float | None
    interval: Interval | None
    over_cases: PairedTest
    over_runs: PairedTest
    is_primary: bool = False
    holm_over_cases: float | None = None
    holm_over_runs: float | None = None

    @property
    def p_over_cases(self) -> float | None:
        """The p to report: of the primary contrast as it is, of the others corrected."""
        return self.over_cases.p if self.is_primary else self.holm_over_cases

    @property
    def p_over_runs(self) -> float | None:
        """See :attr:`p_over_cases`."""
        return self.over_runs.p if self.is_primary else self.holm_over_runs


def contrast(
    first_dice: pd.Series, first_scores: pd.DataFrame, dice: pd.Series, scores: pd.DataFrame
) -> Contrast:
    """A row against the first one, not yet corrected.

    Args:
        first_dice: Dice of each case of the first row, by case id.
        first_scores: its Dice of each run and case, see :func:`.intervals.mean_interval`.
        dice: likewise, of the row.
        scores: likewise.
    """
    over_cases = wilcoxon_over_cases(first_dice, dice)
    common = first_dice.dropna().index.intersection(dice.dropna().index)
    interval = None
    if over_cases.difference is not None:
        interval = difference_interval(first_scores, scores, over_cases.difference)
    over_runs = sign_flips_over_runs(run_means(first_scores, common), run_means(scores, common))
    return Contrast(over_cases.difference, interval, over_cases, over_runs)


def corrected(contrasts: Sequence[Contrast], primary: int | None) -> list[Contrast]:
    """The contrasts.

    All but the primary one are corrected by Holm for their number, each test for itself.

    Args:
        contrasts: as :func:`contrast` gives them.
        primary: the place of the primary one; None: there is none.
    """
    others = [place for place in range(len(contrasts)) if place != primary]
    by_cases = holm([contrasts[place].over_cases.p for place in others])
    by_runs = holm([contrasts[place].over_runs.p for place in others])
    result = list(contrasts)
    for place, p_cases, p_runs in zip(others, by_cases, by_runs, strict=True):
        result[place] = replace(contrasts[place], holm_over_cases=p_cases, holm_over_runs=p_runs)
    if primary is not None:
        result[primary] = replace(contrasts[primary], is_primary=True)
    return result
