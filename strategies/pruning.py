"""A discrete architecture from gates and alphas (section 2.2, rules a and b); plain Python."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

from search_space.genotype import Genotype
from search_space.grid import Edge, Grid, Layer, live_edges, widest_path


class RescueWarning(UserWarning):
    """Pruning cut the output off, so a path was restored."""


def all_gates(
    grid: Grid, searched: Mapping[Edge, float], fixed_edges: Collection[Edge] = ()
) -> dict[Edge, float]:
    """The gate of every edge of the grid: 1 for fixed edges, 0 for edges outside the space."""
    return dict.fromkeys(grid.edges, 0.0) | dict(searched) | dict.fromkeys(fixed_edges, 1.0)


def open_edges(grid: Grid, gates: Mapping[Edge, float], prune_threshold: float) -> frozenset[Edge]:
    """The edges with a gate of at least ``prune_threshold`` (rule a), and a path to the output.

    If these edges do not join the input to the output, the path whose smallest gate is largest is
    added, and a :class:`RescueWarning` names its edges. The paper does not cover this case.

    Args:
        grid: the grid.
        gates: sigma(beta) of every edge, in [0, 1]; 1 for an edge that is not searched, 0 for one
            outside the space.
        prune_threshold: tau, in (0, 1).
    """
    passing = frozenset(edge for edge, gate in gates.items() if gate >= prune_threshold)
    if live_edges(grid, passing):
        return passing
    path = widest_path(grid, gates)
    warnings.warn(
        f"no path of gates >= {prune_threshold:g} leads to the output; restored the widest one: "
        + ", ".join(f"{edge} ({gates[edge]:.2f})" for edge in path),
        RescueWarning,
        stacklevel=3,
    )
    return passing | set(path)


def keep_edges(grid: Grid, gates: Mapping[Edge, float], prune_threshold: float) -> frozenset[Edge]:
    """The edges that remain after :func:`open_edges` (rule a) and rule (b).

    Rule (b) removes edges that do not lie between the input and the output node
    (:func:`search_space.grid.live_edges`).
    """
    return frozenset(live_edges(grid, open_edges(grid, gates, prune_threshold)))


def derive(
    grid: Grid,
    gates: Mapping[Edge, float],
    alphas: Mapping[Layer, Mapping[str, float]],
    prune_threshold: float,
    *,
    fixed_operations: Mapping[Layer, str] | None = None,
    fixed_edges: Collection[Edge] = (),
    edge_scale: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> Genotype:
    """The genotype at one threshold; another threshold needs no new search.

    Args:
        grid: the grid.
        gates: sigma(beta) of every searched edge, in [0, 1].
        alphas: per searched layer, the weight of each candidate (softmax or raw; only the order
            counts).
        prune_threshold: tau, in (0, 1).
        fixed_operations: the operation of every layer that is not searched.
        fixed_edges: edges that are always present and not searched.
        edge_scale: whether each edge has a learned scale.
        provenance: stored in the genotype.

    Returns:
        The kept edges and, per layer, the operation with the largest weight; of equal ones, the
        first.
    """
    edges = keep_edges(grid, all_gates(grid, gates, fixed_edges), prune_threshold)
    operations = {layer: max(weights, key=weights.__getitem__) for layer, weights in alphas.items()}
    operations |= dict(fixed_operations or {})
    return Genotype.from_choices(grid.levels, edges, operations, provenance, edge_scale=edge_scale)
