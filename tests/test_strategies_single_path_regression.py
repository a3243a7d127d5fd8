"""The regression that proposes networks to measure."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from scipy.stats import kendalltau

from search_space import Genotype, SearchSpaceConfig
from strategies.single_path.regression import (
    PENALTIES,
    Regression,
    _left_out_error,
    expected_dice,
    explore_by_regression,
)
from strategies.single_path.sampling import Sampler

SPACE = SearchSpaceConfig(
    spatial_dims=2,
    in_channels=1,
    num_classes=2,
    levels=3,
    base_channels=4,
    width_choices=(0.5, 1.0, 1.5),
    anchored_edges=True,
    edge_scale=True,
    pass_through=True,
)
SAMPLER = Sampler(SPACE)


def drawn(number: int, seed: int = 0) -> list[Genotype]:
    return [SAMPLER.draw(Random(f"{seed}/{index}")) for index in range(number)]


def true_dice(genotype: Genotype) -> float:
    """Wide fine levels help, wide coarse levels harm, and one operation is bad."""
    assert genotype.widths is not None
    normal = [name for layer, name in genotype.operations.items() if layer.kind == "normal"]
    fine, _, coarse = np.log2(genotype.widths)
    return 0.8 + 0.02 * fine - 0.02 * coarse - 0.05 * normal.count("conv5") / len(normal)


def test_it_ranks_networks_that_it_has_not_seen() -> None:
    noise = np.random.default_rng(0).normal(0, 0.005, 40)
    known = drawn(40)
    regression = Regression(known, [true_dice(each) + e for each, e in zip(known, noise, strict=True)])
    others = drawn(200, seed=1)
    tau = kendalltau(regression.predict(others), [true_dice(each) for each in others]).statistic
    assert tau > 0.8


def test_noise_alone_gets_the_largest_penalty_and_predicts_the_mean() -> None:
    noise = np.random.default_rng(0).normal(0.8, 0.01, 40)
    regression = Regression(drawn(40), list(noise))
    assert regression.penalty == max(PENALTIES)
    predicted = regression.predict(drawn(100, seed=1))
    assert np.std(predicted) < 0.5 * np.std(noise)
    assert np.mean(predicted) == pytest.approx(noise.mean(), abs=0.003)


def test_the_error_in_closed_form_is_that_of_leaving_each_out() -> None:
    """By hand: fitted again without each network, with the mean and scale of all features kept."""
    random = np.random.default_rng(0)
    known = random.normal(size=(12, 4))
    known -= known.mean(0)
    values = random.normal(size=12)
    values -= values.mean()
    errors = []
    for index in range(12):
        others = np.arange(12) != index
        design = np.column_stack([np.ones(11), known[others]])
        penalty = np.diag([0.0, *[3.0] * 4])  # the mean has none
        weights = np.linalg.solve(design.T @ design + penalty, design.T @ values[others])
        errors.append((values[index] - weights @ [1.0, *known[index]]) ** 2)
    assert _left_out_error(known, values, 3.0) == pytest.approx(np.mean(errors), rel=1e-9)


def test_networks_that_have_not_found_a_class_do_not_outweigh_the_others() -> None:
    known = drawn(40)
    dice = [true_dice(each) for each in known]
    stuck = [0.3 if index in (3, 17, 31) else each for index, each in enumerate(dice)]
    others = drawn(200, seed=1)
    tau = kendalltau(Regression(known, stuck).predict(others), [true_dice(each) for each in others])
    assert tau.statistic > 0.6


def explored(num_measured: int, sampler: Sampler = SAMPLER, population: int = 12) -> list[Genotype]:
    noise, seen = np.random.default_rng(0), list[Genotype]()

    def measure(genotype: Genotype) -> float:
        seen.append(genotype)
        return true_dice(genotype) + noise.normal(0, 0.005)

    explore_by_regression(
        sampler, measure, excess=excess, num_measured=num_measured, population=population, seed=0
    )
    return seen


def excess(genotype: Genotype) -> float:
    return max(0.0, sum(genotype.widths or ()) - 3.5)


def test_proposals_beat_random_networks_within_the_limits() -> None:
    seen = explored(24)
    assert len(set(seen)) == 24
    assert all(excess(genotype) == 0 for genotype in seen)
    dice = [true_dice(genotype) for genotype in seen]
    assert np.mean(dice[-6:]) > max(dice[:12]) - 0.005
    assert np.mean(dice[-6:]) > np.mean(dice[:12]) + 0.02
    assert seen == explored(24)


def test_a_space_without_further_networks_ends_the_exploration() -> None:
    space = SPACE.model_copy(update={"search_blocks": False, "search_edges": False})
    seen = explored(60, Sampler(space))
    assert len(set(seen)) == len(seen)
    assert 15 < len(seen) <= 27  # three widths for three levels, some beyond the limits


def test_the_expected_dice_ranks_better_than_a_noisy_measurement() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 60)
    known = drawn(60)
    true = [true_dice(each) for each in known]
    dice = [each + error for each, error in zip(true, noise, strict=True)]
    assert kendalltau(expected_dice(known, dice), true)[0] > kendalltau(dice, true)[0] + 0.1


def test_spaces_without_widths_and_choices_that_never_vary() -> None:
    space = SPACE.model_copy(update={"width_choices": (1.0,)})
    known = [Sampler(space).draw(Random(str(index))) for index in range(5)]
    predicted = Regression(known, [0.8, 0.81, 0.79, 0.8, 0.82]).predict(known)
    assert np.isfinite(predicted).all()
