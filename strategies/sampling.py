"""Sampling in one step of the search: edges by their gates, candidates at random."""

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
"""Probability that a candidate of a layer is present after the warm-up."""


def step_generator(*numbers: int) -> torch.Generator:
    """A random generator that depends on ``numbers`` only (seed, epoch, step ...).

    A resumed search therefore draws the same numbers.
    """
    (seed,) = np.random.SeedSequence(numbers).generate_state(1)
    return torch.Generator().manual_seed(int(seed))


def open_or_close(
    grid: Grid,
    gates: Mapping[str, SigmoidGate],
    values: Mapping[str, float],
    threshold: float,
    fixed_edges: Collection[Edge],
) -> None:
    """Opens the edges whose value reaches ``threshold``, and a path to the output; closes others.

    Args:
        grid: the supernet's grid.
        gates: the gate of every searched edge, by label.
        values: one number in [0, 1] per searched edge, by label.
        threshold: the smallest value of an open edge, in [0, 1].
        fixed_edges: edges that are always present.
    """
    by_edge = {Edge.parse(label): value for label, value in values.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RescueWarning)  # the export gives the final warning
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
    """A context in which an edge with gate g is open with probability 1 - share * (1 - g).

    A path to the output is always open.

    Args:
        grid, gates, fixed_edges: see :func:`open_or_close`.
        share: fraction of the gates' effect, in [0, 1]; 0: every edge is open.
        generator: source of the random numbers.
    """
    probability = 1 - share * (1 - torch.stack([gate.gate().detach().cpu() for gate in gates.values()]))
    # A value reaches 1/2 with this probability. The order of the values also samples the path that
    # is restored if none is open.
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
    """A context in which candidates are left out at random; each layer keeps at least one.

    Args:
        layers: the mixed layers, by label.
        share: in [0, 1]; 0: all candidates are present; 1: each is present with probability
            ``KEPT_CANDIDATES``.
        generator: source of the random numbers.
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
