"""What is there in one step of the search: edges drawn by their gates, candidates left out at random."""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch

from search_space.grid import Edge, Grid, reached_nodes

from .gates import SigmoidGate
from .mixed_layer import MixedLayer
from .pruning import RescueWarning, all_gates, open_edges

KEPT_CANDIDATES = 0.5
"""The probability of each candidate of a layer, once the warm-up is over."""


def step_generator(*numbers: int) -> torch.Generator:
    """Random numbers as a function of ``numbers`` (seed, epoch, step ...), so that a search that goes on draws the same."""
    (seed,) = np.random.SeedSequence(numbers).generate_state(1)
    return torch.Generator().manual_seed(int(seed))


def open_or_close(
    grid: Grid,
    gates: Mapping[str, SigmoidGate],
    values: Mapping[str, float],
    threshold: float,
    fixed_edges: Collection[Edge],
) -> None:
    """Opens the edges whose value reaches ``threshold``, and a path to the output; closes the others.

    Args:
        grid: of the supernet.
        gates: the gate of every searched edge, by label.
        values: in [0, 1], by label.
        threshold: likewise.
        fixed_edges: edges that are always there.
    """
    by_edge = {Edge.parse(label): value for label, value in values.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RescueWarning)  # the last word is that of the export
        there = open_edges(grid, all_gates(grid, by_edge, fixed_edges), threshold)
    reached = reached_nodes(grid, there)
    for label, gate in gates.items():
        edge = Edge.parse(label)
        gate.is_open, gate.target_is_cut_off = edge in there, edge.target not in reached


@contextmanager
def sampled_edges(
    grid: Grid,
    gates: Mapping[str, SigmoidGate],
    share: float,
    fixed_edges: Collection[Edge],
    generator: torch.Generator,
) -> Iterator[None]:
    """Within it, an edge with gate g is there with the probability 1 - share * (1 - g), and there is a path to the output.

    Args:
        grid, gates, fixed_edges: see :func:`open_or_close`.
        share: in [0, 1]: of the gates' effect; 0: every edge is there.
        generator: of the draw.
    """
    probability = 1 - share * (1 - torch.stack([gate.gate().detach().cpu() for gate in gates.values()]))
    # At least 1/2 with that probability, and in an order that draws a path to restore as well.
    values = (1 + probability - torch.rand(len(gates), generator=generator)) / 2
    open_or_close(grid, gates, dict(zip(gates, values.tolist(), strict=True)), 0.5, fixed_edges)
    try:
        yield
    finally:
        for gate in gates.values():
            gate.is_open, gate.target_is_cut_off = None, False


@contextmanager
def sampled_operations(
    layers: Mapping[str, MixedLayer], share: float, generator: torch.Generator
) -> Iterator[None]:
    """Within it, candidates are left out at random, but for one of each layer at least.

    Args:
        layers: the mixed layers, by label.
        share: in [0, 1]: 0: all candidates are there, 1: each with the probability ``KEPT_CANDIDATES``.
        generator: of the draw.
    """
    keep = 1 - share * (1 - KEPT_CANDIDATES)
    for layer in layers.values():
        values = torch.rand(len(layer.names), generator=generator).tolist()
        least = min(values)
        layer.sampled = frozenset(
            name for name, value in zip(layer.names, values, strict=True) if value <= max(keep, least)
        )
    try:
        yield
    finally:
        for layer in layers.values():
            layer.sampled = None
