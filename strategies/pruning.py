"""From gates and alphas to a discrete architecture (section 2.2, rules a and b); plain Python, no tensors."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

from search_space.genotype import Genotype
from search_space.grid import Edge, Grid, Layer, live_edges, widest_path


class RescueWarning(UserWarning):
    """Pruning had cut the output off, so that a path had to be restored."""


def keep_edges(grid: Grid, gates: Mapping[Edge, float], prune_threshold: float) -> frozenset[Edge]:
    """The edges that remain: rule (a), rule (b), and the rescue.

    (a) An edge stays where its gate is at least ``prune_threshold``. (b) What does not lie between the input and the
    output node goes (:func:`search_space.grid.live_edges`). If nothing remains, the path whose weakest gate is
    largest is restored first and a :class:`RescueWarning` names its edges; the paper is silent on this case.

    Args:
        grid: the grid.
        gates: sigma(beta) of every edge, in [0, 1]; 1 for an edge that is not searched, 0 for one not in the space.
        prune_threshold: tau, in (0, 1).
    """
    passing = {edge for edge, gate in gates.items() if gate >= prune_threshold}
    live = live_edges(grid, passing)
    if not live:
        path = widest_path(grid, gates)
        warnings.warn(
            f"no path of gates >= {prune_threshold:g} leads to the output; restored the widest one: "
            + ", ".join(f"{edge} ({gates[edge]:.2f})" for edge in path),
            RescueWarning,
            stacklevel=2,
        )
        live = live_edges(grid, passing | set(path))
    return live


def derive(
    grid: Grid,
    gates: Mapping[Edge, float],
    alphas: Mapping[Layer, Mapping[str, float]],
    prune_threshold: float,
    *,
    fixed_operations: Mapping[Layer, str] | None = None,
    fixed_edges: Collection[Edge] = (),
    provenance: Mapping[str, Any] | None = None,
) -> Genotype:
    """The genotype at one threshold; deriving for another one needs no new search.

    Args:
        grid: the grid.
        gates: sigma(beta) of every searched edge, in [0, 1].
        alphas: per searched layer, the weight of each candidate (softmax or raw; only the order counts).
        prune_threshold: tau, in (0, 1).
        fixed_operations: the operation of every layer that is not searched.
        fixed_edges: edges that are not searched but always there.
        provenance: kept with the genotype.

    Returns:
        The kept edges and, per layer, the operation with the largest weight (of equal ones the first).
    """
    everything = dict.fromkeys(grid.edges, 0.0) | dict(gates) | dict.fromkeys(fixed_edges, 1.0)
    edges = keep_edges(grid, everything, prune_threshold)
    operations = {layer: max(weights, key=weights.__getitem__) for layer, weights in alphas.items()}
    return Genotype.from_choices(grid.levels, edges, operations | dict(fixed_operations or {}), provenance)
