"""The expected multiply-adds of the network that a search would derive, with their gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor

from search_space.grid import Edge, Layer, Node

from .supernet import SearchableSpace

Number = Tensor | float


class ExpectedCost:
    """The cost of every layer and edge, times the probability that it lives in the network.

    If edges exist independently with probability g, a path leads from the input to node n with
    about r(n) = 1 - prod_e (1 - g_e r(source of e)), e into n, and from n to the output with about
    c(n) = 1 - prod_e (1 - g_e c(target of e)), e out of n. A layer of n then lives with r(n) c(n),
    an edge with g r(source) c(target), an expansion if a coarse edge feeds it. So closing the last
    inputs of a node saves its layers too. With gates of 0 and 1 the cost is exact; between, paths
    that share edges are taken as independent.

    Args:
        space: the supernet.
    """

    def __init__(self, space: SearchableSpace) -> None:
        self._nodes, self._grid = list(space.nodes), space.grid
        self._into = {node: list(space.edges_into.get(node, [])) for node in self._nodes}
        edges = [edge for found in self._into.values() for edge in found]
        self._out_of = {node: [edge for edge in edges if edge.source == node] for node in self._nodes}
        costs = {**space.costs(), **space.fixed_costs()}
        self._layers = {
            layer: costs[str(layer)]
            for node in self._nodes
            for layer in self._grid.layers_of(node)
            if str(layer) in costs
        }
        self._edges = {edge: costs[str(edge)][-1] for edge in edges}

    def __call__(
        self, gates: Mapping[str, Number], weights: Mapping[str, Tensor | Sequence[float]]
    ) -> Number:
        """The expected multiply-adds per input voxel, without the head.

        Args:
            gates: the gate of every searched edge, in [0, 1], by label; the others count as 1.
            weights: the probability of each candidate of every searched layer, by label.
        """

        def gate(edge: Edge) -> Number:
            return gates.get(str(edge), 1.0)

        reach: dict[Node, Number] = {}
        for node in self._nodes:
            found = _any_of(gate(edge) * reach[edge.source] for edge in self._into[node])
            reach[node] = 1.0 if node == self._grid.input else found
        coreach: dict[Node, Number] = {}
        for node in reversed(self._nodes):
            found = _any_of(gate(edge) * coreach[edge.target] for edge in self._out_of[node])
            coreach[node] = 1.0 if node == self._grid.output else found
        total: Number = 0.0
        for edge, cost in self._edges.items():
            if cost:
                total = total + cost * gate(edge) * reach[edge.source] * coreach[edge.target]
        for layer, candidates in self._layers.items():
            total = total + self._is_fed(layer, gate, reach) * coreach[layer.node] * _mean(
                candidates, weights.get(str(layer))
            )
        return total

    def at_the_start(self) -> float:
        """The expected cost with gates of 1/2 and uniform choices."""
        gates = {str(edge): 0.5 for edge in self._edges}
        uniform = {str(layer): [1 / len(costs)] * len(costs) for layer, costs in self._layers.items()}
        return float(self(gates, uniform))

    def _is_fed(self, layer: Layer, gate: Callable[[Edge], Number], reach: Mapping[Node, Number]) -> Number:
        """The probability that a layer has an input."""
        if layer.kind != "expansion":
            return reach[layer.node]
        coarse = (edge for edge in self._into[layer.node] if edge.is_coarse)
        return _any_of(gate(edge) * reach[edge.source] for edge in coarse)


def _any_of(probabilities: Iterable[Number]) -> Number:
    """The probability that one of independent events happens."""
    none: Number = 1.0
    for probability in probabilities:
        none = none * (1 - probability)
    return 1 - none


def _mean(costs: Sequence[float], weights: Tensor | Sequence[float] | None) -> Number:
    if weights is None:  # fixed
        return costs[0]
    if isinstance(weights, Tensor):
        return weights @ weights.new_tensor(costs)
    return sum(cost * weight for cost, weight in zip(costs, weights, strict=True))
