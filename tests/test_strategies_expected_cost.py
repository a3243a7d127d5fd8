"""The expected cost of a supernet: exact where choices are certain, and differentiable between."""

from __future__ import annotations

import math
from random import Random

import pytest
import torch

from search_space import Genotype, SearchSpaceConfig
from search_space.cost import genotype_cost
from search_space.errors import UserError
from search_space.space import UXNetSpace
from strategies.expected_cost import ExpectedCost

PATCH = (16, 16, 16)
SPACES = {
    "free": {},
    "anchored": {"anchored_edges": True, "pass_through": True},
    "unet": {"search_edges": False},
    "edges alone": {"search_blocks": False},
}


def space_of(name: str, levels: int = 3) -> UXNetSpace:
    return UXNetSpace(SearchSpaceConfig(levels=levels, base_channels=4, **SPACES[name]))


@pytest.mark.parametrize("name", SPACES)
def test_certain_choices_cost_what_their_network_costs(name: str) -> None:
    """The head is left out of both."""
    space, random, num_networks = space_of(name), Random(0), 0
    cost, config = ExpectedCost(space), space.config
    head = config.channels(0) * config.num_classes * math.prod(PATCH)
    while num_networks < 40:
        edges = [edge for edge in space.searched_edges if random.random() < 0.5]
        chosen = {layer: random.choice(config.layer_candidates(layer)) for layer in space.searched_layers}
        try:
            genotype = Genotype.from_choices(
                config.levels, {*edges, *space.fixed_edges}, chosen | space.fixed_operations
            )
        except UserError:  # the output is cut off
            continue
        num_networks += 1
        gates = {str(edge): float(edge in edges) for edge in space.searched_edges}
        weights = {
            str(layer): [float(candidate == name) for candidate in config.layer_candidates(layer)]
            for layer, name in chosen.items()
        }
        exact = genotype_cost(genotype, config, PATCH).multiply_adds - head
        assert cost(gates, weights) * math.prod(PATCH) == pytest.approx(exact)


def test_closing_the_last_input_of_a_node_saves_its_layers() -> None:
    """The only edge into N0.1 costs nothing itself, but the node behind it does."""
    space = space_of("edges alone")
    cost = ExpectedCost(space)
    gates = {str(edge): torch.tensor(0.5, requires_grad=True) for edge in space.searched_edges}
    total = cost(gates, {})
    assert isinstance(total, torch.Tensor)
    total.backward()
    layer_cost = space.fixed_costs()["N0.1/normal"][0]
    gradient = gates["N0.0-N0.1"].grad
    assert gradient is not None
    assert gradient.item() > layer_cost / 2
    assert space.costs()["N0.0-N0.1"][1] == 0


def test_the_gradient_is_that_of_the_cost() -> None:
    space = space_of("free")
    cost = ExpectedCost(space)
    labels = [str(edge) for edge in space.searched_edges]
    weights = {label: [1 / len(costs)] * len(costs) for label, costs in space.costs().items() if "/" in label}

    def total(values: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(cost(dict(zip(labels, values, strict=True)), weights))

    gates = torch.rand(len(labels), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(total, gates.requires_grad_(True))
