"""The content of a drawing: the role of every edge, the layers of every node, what is alive."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from search_space.errors import UserError
from search_space.genotype import Genotype
from search_space.grid import Edge, Grid, Layer, Node, live_edges, live_nodes, widest_path
from search_space.operations import check_operation, describe


class Row(NamedTuple):
    """One line of a node's card: a layer, its operation, and how sure the search is of it.

    An expansion layer into which no coarser level leads is not built, nor is any layer of a dead
    node.
    """

    kind: str  # "normal", "reduction" or "expansion"
    title: str
    weight: float | None  # of the operation, in 0..1
    built: bool


@dataclass(frozen=True)
class Picture:
    """What is drawn, free of how.

    Attributes:
        grid: the grid of nodes.
        edges: of every edge, its role: ``kept``, ``pruned``, ``restored`` (kept although its gate
            is below the threshold), ``dead`` (open, but on no path from input to output) or
            ``candidate`` (nothing is known).
        gates: of every edge, its gate in 0..1; empty if the picture shows a genotype alone.
        rows: of every node, its layers; empty where nothing is known.
        live: nodes on a path from input to output.
        prune_threshold: tau, the gate from which on an edge is kept.
        spatial_dims: 2 or 3.
        title: the drawing's title.
    """

    grid: Grid
    edges: Mapping[Edge, str]
    gates: Mapping[Edge, float]
    rows: Mapping[Node, tuple[Row, ...]]
    live: frozenset[Node]
    prune_threshold: float
    spatial_dims: int
    title: str


def compose(
    genotype: Genotype | None = None,
    *,
    grid: Grid | None = None,
    gates: Mapping[Edge, float] | None = None,
    alphas: Mapping[Layer, Mapping[str, float]] | None = None,
    prune_threshold: float = 0.75,
    spatial_dims: int = 3,
    title: str = "",
) -> Picture:
    """What :func:`uxnet_eval.drawing.draw` shows of these arguments, which it describes.

    Raises:
        UserError: if neither genotype nor grid is given, or they, the gates and the alphas do not
            fit together.
    """
    grid = _grid(genotype, grid)
    if spatial_dims not in (2, 3):
        raise UserError(f"drawing: spatial_dims = {spatial_dims}; expected 2 or 3")
    if not 0 <= prune_threshold <= 1:
        raise UserError(f"drawing: prune_threshold = {prune_threshold}; expected a number in 0..1")
    values = _checked_gates(grid, gates) if gates else {}
    weights = _checked_alphas(grid, alphas) if alphas else {}
    edges = _roles(genotype, grid, values, prune_threshold)
    kept = [edge for edge, role in edges.items() if role in ("kept", "restored", "candidate")]
    return Picture(
        grid=grid,
        edges=edges,
        gates=values,
        rows={node: _rows(node, grid, genotype, weights, kept, spatial_dims) for node in grid.nodes},
        live=live_nodes(kept),
        prune_threshold=prune_threshold,
        spatial_dims=spatial_dims,
        title=title,
    )


def _grid(genotype: Genotype | None, grid: Grid | None) -> Grid:
    if genotype is not None and grid is not None and genotype.levels != grid.levels:
        raise UserError(
            f"drawing: the genotype has {genotype.levels} levels, the grid {grid.levels}; leave the grid out"
        )
    if genotype is not None:
        return genotype.grid
    if grid is None:
        raise UserError("drawing: nothing to draw; give a genotype or a grid")
    return grid


def _checked_gates(grid: Grid, gates: Mapping[Edge, float]) -> dict[Edge, float]:
    foreign = [str(edge) for edge in gates if edge not in set(grid.edges)]
    missing = [str(edge) for edge in grid.edges if edge not in gates]
    if foreign:
        raise UserError(
            f"drawing: {foreign[0]} has a gate but is no edge of a grid with {grid.levels} levels"
        )
    if missing:
        raise UserError(
            f"drawing: {len(missing)} of {len(grid.edges)} edges have no gate ({missing[0]} is one); "
            "give a gate for every edge, or none at all"
        )
    values = {edge: float(gates[edge]) for edge in grid.edges}
    for edge, gate in values.items():
        if not 0 <= gate <= 1:  # true for NaN too
            raise UserError(f"drawing: the gate of {edge} is {gate}; expected a number in 0..1")
    return values


def _checked_alphas(
    grid: Grid, alphas: Mapping[Layer, Mapping[str, float]]
) -> dict[Layer, tuple[str, dict[str, float]]]:
    """The leading operation and all weights of each layer."""
    known, found = set(grid.layers), {}
    for layer, weights in alphas.items():
        if layer not in known:
            raise UserError(
                f"drawing: {layer} has alphas but is no layer of a grid with {grid.levels} levels"
            )
        values = {name: float(weight) for name, weight in weights.items()}
        for name, weight in values.items():
            check_operation(name, layer.kind, 3, f"drawing: layer {layer}")
            if not math.isfinite(weight) or not 0 <= weight <= 1 + 1e-6:
                raise UserError(f"drawing: the weight of {name} in {layer} is {weight}; expected 0..1")
        if not values:
            raise UserError(f"drawing: layer {layer} has alphas of no operation; leave it out or give them")
        found[layer] = max(values, key=lambda name: values[name]), values
    return found


def _roles(
    genotype: Genotype | None, grid: Grid, gates: Mapping[Edge, float], prune_threshold: float
) -> dict[Edge, str]:
    if genotype is None and not gates:
        return dict.fromkeys(grid.edges, "candidate")
    opened = {edge for edge, gate in gates.items() if gate >= prune_threshold}
    if genotype is not None:
        kept = frozenset(genotype.edges)
    else:
        kept = live_edges(grid, opened) or live_edges(grid, opened | set(widest_path(grid, gates)))

    def role(edge: Edge) -> str:
        if edge in kept:
            return "kept" if not gates or edge in opened else "restored"
        return "dead" if edge in opened else "pruned"

    return {edge: role(edge) for edge in grid.edges}


def _rows(
    node: Node,
    grid: Grid,
    genotype: Genotype | None,
    alphas: Mapping[Layer, tuple[str, dict[str, float]]],
    kept: list[Edge],
    spatial_dims: int,
) -> tuple[Row, ...]:
    rows, expanded = [], any(edge.target == node and edge.is_coarse for edge in kept)
    for layer in grid.layers_of(node):
        leading, weights = alphas.get(layer, (None, {}))
        name = genotype.operations.get(layer, leading) if genotype is not None else leading
        built = layer.kind != "expansion" or expanded
        if name is not None:
            rows.append(Row(layer.kind, describe(name, spatial_dims), weights.get(name), built))
        elif genotype is None:  # its operation is not known, but its kind is
            rows.append(Row(layer.kind, layer.kind, None, built))
    return tuple(rows)
