"""What a supernet adds to the fixed network: gated aggregation, and nodes weighed by reach."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from torch import Tensor

from search_space.grid import Edge, Grid, Layer, Node

from .gates import SigmoidGate


class SearchableSpace(Protocol):
    """The parts of a model space that the strategy uses."""

    searched_edges: tuple[Edge, ...]
    searched_layers: tuple[Layer, ...]
    fixed_edges: Collection[Edge]
    nodes: Sequence[Node]
    edges_into: Mapping[Node, Sequence[Edge]]
    node_weights: Callable[[], Mapping[Node, Tensor]] | None

    @property
    def grid(self) -> Grid:
        """The grid of nodes and edges."""
        ...

    @property
    def edge_scale(self) -> bool:
        """Whether each edge has a learned scale."""
        ...

    @property
    def fixed_operations(self) -> Mapping[Layer, str]:
        """The operation of every layer that is not searched."""
        ...

    def share_aggregation(self, gate: Callable[[Edge], Tensor | None]) -> None:
        """Aggregates by parts, with the gate of each edge (None stands for 1)."""
        ...

    def costs(self) -> Mapping[str, Sequence[float]]:
        """Multiply-adds of every candidate of every searched layer and edge, by label."""
        ...

    def fixed_costs(self) -> Mapping[str, Sequence[float]]:
        """Multiply-adds of every other layer and edge, in lists of one, by label."""
        ...


class Reach:
    """The weight of every node's output: how surely a path from the input leads to it.

    r(n) = 1 - prod_e (1 - g_e r(source of e)) over the edges e into n, in [0, 1]. This is the
    probability of such a path if edges exist independently with probability g.

    Without this weight, the norm after a node's inputs would hide a common factor of their gates:
    a node with one input would be as strong behind a gate of 0.01 as behind a gate of 1. With gates
    of 0 and 1, the weight changes one thing only: a node without inputs gives 0, as in rule (b).
    The output node is exempt, because it always exists. The paper does not weigh nodes.

    Args:
        space: the space, whose nodes are weighed.
        gates: the gate of every searched edge, by label; other edges count as open.
    """

    def __init__(self, space: SearchableSpace, gates: Mapping[str, SigmoidGate]) -> None:
        self._nodes, self._edges_into, self._output = space.nodes, space.edges_into, space.grid.output
        self._gates = gates

    def __call__(self) -> dict[Node, Tensor]:
        """The weights (scalars) of those nodes that depend on a gate; the weight of others is 1."""
        return {node: value for node, value in self.of_nodes().items() if isinstance(value, Tensor)}

    def of_nodes(self) -> dict[Node, Tensor | float]:
        """The reach of every node, in [0, 1]; a plain number if it depends on no gate."""
        reach: dict[Node, Tensor | float] = {}
        for node in self._nodes:
            edges = self._edges_into.get(node, [])
            missing: Tensor | float = 1.0
            for edge in edges:
                missing = missing * (1 - self.gate(edge) * reach[edge.source])
            reach[node] = 1 - missing if edges and node != self._output else 1.0
        return reach

    def gate(self, edge: Edge) -> Tensor | float:
        """The gate of an edge, with its gradient; 1 for an edge that is not searched."""
        label = str(edge)
        return self._gates[label].factor() if label in self._gates else 1.0


def connect_gates(space: SearchableSpace, gates: Mapping[str, SigmoidGate], *, by_parts: bool) -> None:
    """Lets the gates act on the edges of a supernet and on the weights of its nodes.

    Args:
        space: the supernet.
        gates: the gate of every searched edge, by label.
        by_parts: aggregate by parts: the same function, faster.
    """
    if by_parts:

        def input_factor(edge: Edge) -> Tensor | None:
            return gates[str(edge)].input_factor() if str(edge) in gates else None

        space.share_aggregation(input_factor)
    if gates:
        space.node_weights = Reach(space, gates)
