"""What proposes architectures: random search, NNI's reinforcement learning and the controller of RONASMIS."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from random import Random
from typing import Any

import pytest
import torch

from search_space import Genotype, SearchSpaceConfig
from search_space.cost import genotype_cost
from strategies.ronasmis import Controller, draw_within, explore_with
from strategies.single_path.evolution import draw_at_random
from strategies.single_path.limits import Limits
from strategies.single_path.reinforcement import reinforce
from strategies.single_path.sampling import Sampler

PATCH = (8, 8)
CONFIG = SearchSpaceConfig(
    spatial_dims=2, levels=3, base_channels=2, normal_candidates=("conv3", "conv5"), width_choices=(0.5, 1.0)
)
UNET_EDGES = CONFIG.model_copy(update={"search_edges": False, "width_choices": (1.0,)})
LIMITS = Limits(CONFIG, PATCH, multiply_adds=18_000)
PLANTED = "conv5"

needs_tianshou = pytest.mark.skipif(
    find_spec("tianshou") is None, reason="tianshou is missing (make test-exports)"
)


def planted(genotype: Genotype) -> float:
    """The share of normal layers with the planted operation."""
    names = [name for layer, name in genotype.operations.items() if layer.kind == "normal"]
    return names.count(PLANTED) / len(names)


def explored(
    explore: Callable[..., None], num_measured: int, seed: int = 0, limits: Limits = LIMITS
) -> list[Genotype]:
    seen: list[Genotype] = []

    def measure(genotype: Genotype) -> float:
        seen.append(genotype)
        torch.rand(3)  # a training that draws must not change the next proposal
        return planted(genotype)

    explore(
        Sampler(limits.config),
        measure,
        excess=limits.excess,
        num_measured=num_measured,
        population=16,
        seed=seed,
    )
    return seen


def check_limits(genotypes: list[Genotype]) -> None:
    assert all(genotype_cost(each, CONFIG, PATCH).multiply_adds <= 18_000 for each in genotypes)


def mean(genotypes: list[Genotype]) -> float:
    return sum(map(planted, genotypes)) / len(genotypes)


def test_random_search_draws_different_networks_within_the_limits() -> None:
    seen = explored(draw_at_random, 12)
    assert len(seen) == len(set(seen)) == 12
    check_limits(seen)
    assert seen == explored(draw_at_random, 12) != explored(draw_at_random, 12, seed=1)


@pytest.mark.exports
@pytest.mark.slow
@needs_tianshou
def test_reinforcement_learning_finds_the_planted_operation() -> None:
    limits = Limits(UNET_EDGES, PATCH, multiply_adds=30_000)
    seen = explored(reinforce, 40, limits=limits)
    assert all(limits.excess(each) == 0 for each in seen)
    assert mean(seen[-12:]) > mean(seen[:12]) + 0.15  # 5/6 at most: one of six hands on
    assert seen[:10] == explored(reinforce, 10, limits=limits)


def learnt(controller: Controller, num_steps: int) -> None:
    optimizer = torch.optim.Adam(controller.parameters(), lr=5e-3)
    for step in range(num_steps):
        pairs = [draw_within(controller, Sampler(CONFIG), LIMITS.excess, 0, step, n) for n in range(4)]
        optimizer.zero_grad()
        controller.policy_loss([pair[0] for pair in pairs], [planted(pair[1]) for pair in pairs]).backward()
        optimizer.step()


def test_controller_finds_the_planted_operation() -> None:
    torch.manual_seed(0)
    sampler = Sampler(CONFIG)
    controller = Controller(sampler.choices)
    before = explored(explore_with(controller), 15)
    learnt(controller, 60)
    after = explored(explore_with(controller), 15)
    assert len(after) == len(set(after)) == 15
    check_limits([*before, *after])
    assert mean(after) > mean(before) + 0.2
    assert after == explored(explore_with(controller), 15)


def test_controller_draws_all_values_alike_at_first() -> None:
    sampler = Sampler(CONFIG)
    controller = Controller(sampler.choices)
    generator = torch.Generator().manual_seed(0)
    drawn = [controller.draw(generator) for _ in range(200)]
    assert drawn[0].keys() == sampler.choices.keys()
    for label, values in sampler.choices.items():
        for value in values:
            share = sum(choices[label] == value for choices in drawn) / len(drawn)
            assert share == pytest.approx(1 / len(values), abs=0.15)


def test_policy_loss_moves_towards_what_was_better() -> None:
    torch.manual_seed(0)
    controller = Controller({"a": ("x", "y", "z"), "fixed": (1.0,)})
    optimizer = torch.optim.SGD(controller.parameters(), lr=1.0)
    assert controller.likeliest()["fixed"] == 1.0
    for _ in range(20):
        loss = controller.policy_loss([{"a": "y"}, {"a": "x"}], [0.9, 0.1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert controller.likeliest()["a"] == "y"
    before = [parameter.clone() for parameter in controller.parameters()]
    optimizer.zero_grad()
    controller.policy_loss([{"a": "y"}, {"a": "x"}], [0.5, 0.5]).backward()
    largest = max(float(p.grad.abs().max()) for p in controller.parameters() if p.grad is not None)
    assert largest < 1e-2  # of equal rewards, the entropy alone is left
    assert all(torch.equal(a, b) for a, b in zip(before, controller.parameters(), strict=True))


def test_choices_are_led_into_the_limits() -> None:
    sampler = Sampler(CONFIG)
    choices: dict[str, Any] = {label: values[-1] for label, values in sampler.choices.items()}
    costly = sampler.genotype(choices)
    assert LIMITS.excess(costly) > 0
    led = sampler.led_into_limits(Random(0), choices, LIMITS.excess)
    assert led is not None and LIMITS.excess(led) == 0
    assert led == sampler.genotype(choices)  # the choices say what was measured
