"""Intervals and tests of a comparison: values by hand, and how often an interval holds the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from uxnet_eval.comparison.contrasts import Contrast, contrast, corrected
from uxnet_eval.comparison.intervals import (
    FoldSpread,
    difference_interval,
    mean_interval,
    run_means,
    two_level_bootstrap,
)
from uxnet_eval.comparison.significance import (
    PairedTest,
    holm,
    sign_flips_over_runs,
    wilcoxon_over_cases,
)


def series(*values: float) -> pd.Series:
    return pd.Series(values, index=[f"case_{i}" for i in range(len(values))], dtype=float)


def scores(
    dice: np.ndarray, fold: int = 0, genotype: str = "", seeds: list[int] | None = None
) -> pd.DataFrame:
    """A row for each entry of ``dice``, runs by cases."""
    rows = [
        (fold, seeds[run] if seeds else run, genotype, f"{fold}-{case}", value)
        for run, values in enumerate(dice)
        for case, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["fold", "seed", "genotype", "case_id", "dice"])


# Tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ((1, 2, 3, 4, 5, 6), 2 / 64),  # all of one sign: one of 64 sign patterns, at either end
        ((-1, 2, 3, 4, 5, 6), 4 / 64),  # rank sum 1 or less: two of 64
        ((0, 0, 1, 2, 3, 4, 5, 6), 2 / 64),  # cases without a difference do not count
    ],
)
def test_wilcoxon_by_hand(differences: tuple[float, ...], p: float) -> None:
    second = series(*(0.5 + d / 100 for d in differences))
    result = wilcoxon_over_cases(series(*[0.5] * len(differences)), second)
    assert result.p == pytest.approx(p)
    assert result.difference == pytest.approx(sum(differences) / 100 / len(differences))
    assert result.num_units == len(differences) and result.remark == ""


def test_wilcoxon_without_a_difference_or_with_few_cases() -> None:
    same = wilcoxon_over_cases(series(0.1, 0.2, 0.3), series(0.1, 0.2, 0.1 + 0.2))  # 0.30000000000000004
    assert same == (0.0, None, 3, "the same in every case")
    few = wilcoxon_over_cases(series(0.5, 0.5, 0.5, 0.5, 0.5), series(0.6, 0.6, 0.6, 0.6, 0.6))
    assert few.p is None and few.remark == "5 cases differ, too few for a test (6)"
    none = wilcoxon_over_cases(series(0.5), series(0.5).rename({"case_0": "other"}))
    assert none == (None, None, 0, "no common case")


def test_only_common_cases_with_a_score_are_paired() -> None:
    result = wilcoxon_over_cases(series(0.5, 0.5, float("nan")), series(0.6, 0.8, 0.9, 0.1))
    assert result.num_units == 2 and result.difference == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ((1, 2, 3), 2 / 8),  # only +++ sums to 6
        ((-1, 2, 3), 4 / 8),  # +++ and -++ sum to 4 or more
        ((1, 2, 3, 4, 5, 6), 2 / 64),
        ((3, -3, 3, -3), 1.0),  # the mean is 0: every pattern is as far
    ],
)
def test_sign_flips_by_hand(differences: tuple[float, ...], p: float) -> None:
    result = sign_flips_over_runs(
        series(*[0.5] * len(differences)), series(*(0.5 + d / 100 for d in differences))
    )
    assert result.p == pytest.approx(p)
    assert result.difference == pytest.approx(sum(differences) / 100 / len(differences))


def test_sign_flips_need_three_runs() -> None:
    assert sign_flips_over_runs(series(0.5, 0.5), series(0.6, 0.7)).remark == "2 runs, too few for a test (3)"
    assert sign_flips_over_runs(series(0.5), series(0.6)).remark == "1 run, too few for a test (3)"
    same = sign_flips_over_runs(series(0.1, 0.2, 0.3), series(0.1, 0.2, 0.1 + 0.2))
    assert same == (0.0, None, 3, "the same in every run")


def test_run_means_over_the_common_cases() -> None:
    table = scores(np.array([[0.2, 0.4, 0.9], [0.4, 0.6, 0.9]]))
    means = run_means(table, pd.Index(["0-0", "0-1"]))
    assert means.to_dict() == pytest.approx({(0, 0): 0.3, (0, 1): 0.5})


def test_holm_by_hand() -> None:
    # Smallest first: .01 * 3; .02 * 2 = .04; .03 * 1 = .03, which is not below .04.
    assert holm([0.03, 0.01, None, 0.02]) == pytest.approx([0.04, 0.03, None, 0.04])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([None]) == [None]


def test_the_primary_contrast_is_not_corrected_and_does_not_count() -> None:
    def tested(p_cases: float, p_runs: float | None) -> Contrast:
        return Contrast(0.0, None, PairedTest(0.0, p_cases, 9), PairedTest(0.0, p_runs, 3))

    contrasts = [tested(0.04, 0.5), tested(0.01, None), tested(0.03, 0.25)]
    primary, *others = corrected(contrasts, 0)
    assert (primary.is_primary, primary.holm_over_cases) == (True, None)
    assert (primary.p_over_cases, primary.p_over_runs) == (0.04, 0.5)
    assert [each.p_over_cases for each in others] == pytest.approx([0.02, 0.03])  # times 2, times 1
    assert [each.p_over_runs for each in others] == [None, 0.25]
    assert [each.p_over_cases for each in corrected(contrasts, None)] == pytest.approx([0.06, 0.03, 0.06])


# Intervals -------------------------------------------------------------------------------------------------------


def test_cases_alone_by_hand() -> None:
    """Two cases, one is drawn: 0.1 below or above the mean, half of the resamples each."""
    interval = mean_interval(scores(np.array([[0.4, 0.6]])), 0.5)
    assert interval == (pytest.approx(0.4), pytest.approx(0.6), False)  # nothing on other runs


def test_runs_alone_are_nearly_students() -> None:
    """Many runs that differ by themselves: the interval is Student's, to the noise of the resampling."""
    means = np.random.default_rng(1).normal(0.8, 0.01, 12)
    interval = mean_interval(scores(np.tile(means[:, None], (1, 5))), float(means.mean()))
    assert interval is not None and interval.over_runs
    half = t.ppf(0.975, 11) * means.std(ddof=1) / 12**0.5
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.06)


def test_variance_has_no_bias() -> None:
    """Cases -1, 0 and 1, two of them drawn: 2 below with probability 1/9, so the ends are -1 and 1."""
    interval = two_level_bootstrap(0.5, [FoldSpread((), np.array([-1.0, 0.0, 1.0]))])
    assert interval == (pytest.approx(-0.5), pytest.approx(1.5), True)


def test_same_seeds_are_paired() -> None:
    """The runs differ by 0.2, equally in both networks: paired, only the cases are left, and they agree."""
    first = np.array([[0.4, 0.5], [0.6, 0.7]])
    assert difference_interval(scores(first), scores(first + 0.1), 0.1) is None
    apart = difference_interval(scores(first), scores(first + 0.1, seeds=[5, 6]), 0.1)
    assert apart is not None and apart.low < -0.1 and apart.high > 0.3


def test_genotypes_are_the_runs_where_seeds_repeat() -> None:
    """Two genotypes of two seeds: their means are 0.4 and 0.6, one is drawn; the seeds are within."""
    one = scores(np.array([[0.3, 0.3], [0.5, 0.5]]), genotype="a")
    other = scores(np.array([[0.5, 0.5], [0.7, 0.7]]), genotype="b")
    both = mean_interval(pd.concat([one, other]), 0.5)
    alone = mean_interval(scores(np.array([[0.4, 0.4], [0.6, 0.6]])), 0.5)
    assert both == pytest.approx(alone)


def test_nothing_varies() -> None:
    assert mean_interval(scores(np.array([[0.5]])), 0.5) is None


def simulated(random: np.random.Generator, run_sd: float) -> tuple[Contrast, bool]:
    """Two networks that differ by nothing, 2 folds of 20 cases, 3 seeds; and whether cases alone hold 0."""
    folds = []
    for fold in range(2):
        common = random.normal(0.8, 0.03, 20)
        for network in range(2):
            runs = random.normal(0, run_sd, (3, 1))
            folds.append(
                scores(
                    common + runs + random.normal(0, 0.006, 20) + random.normal(0, 0.004, (3, 20)), fold
                ).assign(network=network)
            )
    table = pd.concat(folds)
    first, second = (table[table["network"] == network] for network in range(2))
    first_dice, dice = (each.groupby("case_id")["dice"].mean() for each in (first, second))
    found = contrast(first_dice, first, dice, second)
    differences = dice - first_dice
    half = t.ppf(0.975, 39) * differences.std() / 40**0.5
    return found, bool(abs(differences.mean()) <= half)


def test_null_simulation() -> None:
    """Rows that differ by nothing: in about 95 % of 200 comparisons the interval holds 0.

    184 to 196 of 200 is the 95 % range of a binomial of 0.95. Intervals over cases alone fail, since
    they know nothing of the runs.
    """
    random = np.random.default_rng(0)
    held, held_by_cases, significant = 0, 0, 0
    for _ in range(200):
        found, by_cases = simulated(random, run_sd=0.004)
        assert found.interval is not None and found.interval.over_runs
        held += found.interval.low <= 0 <= found.interval.high
        held_by_cases += by_cases
        assert found.over_runs.p is not None
        significant += found.over_runs.p <= 0.05
    assert 184 <= held <= 196
    assert held_by_cases < 150
    assert significant <= 16  # of 200 at 2 / 64: 6.25 are expected
