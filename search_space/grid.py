"""The grid of nodes and aggregation edges (equation 1, figure 3); plain Python, no tensors.

A node ``N{i}.{j}`` is stage ``i`` at level ``j``; level 0 has the full resolution. Stage 0 is the
encoder with levels 0..L-1. Each stage ``i > 0`` drops the lowest level of the stage before it. The
last stage is therefore one node, ``N{L-1}.0``, from which the head computes the logits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from .errors import UserError

_NODE = re.compile(r"N(\d+)\.(\d+)")


@dataclass(frozen=True, order=True)
class Node:
    """Stage and level of one node; nodes sort in the order of computation (stage first)."""

    stage: int
    level: int

    def __str__(self) -> str:
        return f"N{self.stage}.{self.level}"

    @classmethod
    def parse(cls, name: str) -> Node:
        """The node of a name such as ``N1.0``; any other name raises :class:`UserError`."""
        match = _NODE.fullmatch(name)
        if match is None:
            raise UserError(f"'{name}' is not a node; expected a name such as N1.0")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, order=True)
class Edge:
    """One searchable connection; named ``N0.2-N1.0`` (source, then target)."""

    source: Node
    target: Node

    def __str__(self) -> str:
        return f"{self.source}-{self.target}"

    @classmethod
    def parse(cls, name: str) -> Edge:
        """The edge of a name such as ``N0.2-N1.0``; any other name raises :class:`UserError`."""
        source, dash, target = name.partition("-")
        if not dash:
            raise UserError(f"'{name}' is not an edge; expected a name such as N0.2-N1.0")
        return cls(Node.parse(source), Node.parse(target))

    @property
    def is_coarse(self) -> bool:
        """Whether the source enters a decoder node from a coarser level, by expansion."""
        return self.target.stage > 0 and self.source.level > self.target.level

    @property
    def joint_level(self) -> int:
        """The level that T aligns the source to, for a target at level j.

        It is j - 1 in the encoder. In the decoder it is j, or j + 1 for a coarse source.
        """
        if self.target.stage == 0:
            return self.target.level - 1
        return self.target.level + 1 if self.is_coarse else self.target.level


@dataclass(frozen=True)
class Layer:
    """One searchable layer of a node's building block (SBB); named ``N1.0/normal``."""

    node: Node
    kind: str  # "normal", "reduction" or "expansion"

    def __str__(self) -> str:
        return f"{self.node}/{self.kind}"


@dataclass(frozen=True)
class Grid:
    """All nodes, edges and layers of a grid with ``levels`` levels, in the order of computation.

    Five levels give 50 edges, and 15 normal, 4 reduction and 10 expansion layers.
    """

    levels: int

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise UserError(f"levels = {self.levels}: the grid needs at least 2")

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(Node(i, j) for i in range(self.levels) for j in range(self.levels - i))

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """All edges, by target.

        An encoder node takes all finer levels. A node of stage i takes all nodes of stage i - 1.
        """
        found = []
        for node in self.nodes:
            if node.stage == 0:
                sources = [Node(0, k) for k in range(node.level)]
            else:
                sources = [Node(node.stage - 1, k) for k in range(self.levels - node.stage + 1)]
            found += [Edge(source, node) for source in sources]
        return tuple(found)

    @property
    def input(self) -> Node:
        return Node(0, 0)

    @property
    def output(self) -> Node:
        return Node(self.levels - 1, 0)

    def layers_of(self, node: Node) -> tuple[Layer, ...]:
        """The searchable layers of one node, in the order in which its block applies them."""
        if node.stage > 0:
            return Layer(node, "expansion"), Layer(node, "normal")
        if node.level > 0:
            return Layer(node, "reduction"), Layer(node, "normal")
        return (Layer(node, "normal"),)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(layer for node in self.nodes for layer in self.layers_of(node))

    def edges_into(self, node: Node) -> tuple[Edge, ...]:
        return tuple(edge for edge in self.edges if edge.target == node)


def live_edges(grid: Grid, edges: Iterable[Edge]) -> frozenset[Edge]:
    """The edges among ``edges`` that lie on a path from the input node to the output node.

    This is the paper's rule (b), applied in both directions until nothing changes. An edge is
    removed if its target does not reach the output, or if the input does not reach its source.
    """
    kept = set(edges)
    from_input = _closure(grid.input, [(e.source, e.target) for e in kept])
    to_output = _closure(grid.output, [(e.target, e.source) for e in kept])
    return frozenset(e for e in kept if e.source in from_input and e.target in to_output)


def reached_nodes(grid: Grid, edges: Iterable[Edge]) -> frozenset[Node]:
    """The input node and all nodes that a path along ``edges`` reaches from it."""
    return frozenset(_closure(grid.input, [(e.source, e.target) for e in edges]))


def live_nodes(edges: Collection[Edge]) -> frozenset[Node]:
    """The end points of ``edges``."""
    return frozenset(e.source for e in edges) | frozenset(e.target for e in edges)


def widest_path(grid: Grid, gates: Mapping[Edge, float]) -> tuple[Edge, ...]:
    """The path from the input to the output node whose smallest gate is largest.

    In the order of computation every edge points forward, so one pass over the nodes finds the
    optimum. If two paths are equally wide, the one with fewer edges wins.
    """
    best: dict[Node, tuple[float, int, tuple[Edge, ...]]] = {grid.input: (1.0, 0, ())}
    for node in grid.nodes[1:]:
        paths = []
        for edge in grid.edges_into(node):
            if edge.source in best:
                width, negative_length, path = best[edge.source]
                paths.append((min(width, gates[edge]), negative_length - 1, (*path, edge)))
        if paths:
            best[node] = max(paths, key=lambda path: path[:2])
    return best[grid.output][2]


def _closure(start: Node, steps: Iterable[tuple[Node, Node]]) -> set[Node]:
    """All nodes that ``steps`` reach from ``start``."""
    onward: dict[Node, list[Node]] = {}
    for source, target in steps:
        onward.setdefault(source, []).append(target)
    seen, open_nodes = {start}, [start]
    while open_nodes:
        for node in onward.get(open_nodes.pop(), []):
            if node not in seen:
                seen.add(node)
                open_nodes.append(node)
    return seen
