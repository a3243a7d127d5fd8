"""Choosing operations and edges by what the supernet loses without each.

This is the choice of DARTS-PT (Wang et al., Rethinking Architecture Selection in Differentiable
NAS, ICLR 2021) on this project's space. Deviations: an edge is judged alone, because its gate is a
yes or no and not one of a node's k inputs; and the weights are not tuned between two decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

from .gates import SigmoidGate
from .mixed_layer import MixedLayer


class Decisions(NamedTuple):
    """What was chosen, by label.

    Attributes:
        operations: the candidate of every searched layer.
        edges: whether a searched edge is kept.
        num_scored: number of scores that this took.
    """

    operations: dict[str, str]
    edges: dict[str, bool]
    num_scored: int


def decide_by_perturbation(
    layers: Mapping[str, MixedLayer],
    gates: Mapping[str, SigmoidGate],
    score: Callable[[], float],
    random: Random,
) -> Decisions:
    """Decides one layer after the other in random order, then one edge after the other.

    A layer keeps the candidate without which the score is lowest; of equal ones, that with the
    largest alpha. An edge is closed if the score without it is at least as high. Each decision
    holds in the scores that follow. The supernet is left as it was found.

    Args:
        layers, gates: those of the supernet, by label; nothing of them is committed.
        score: of the supernet as it stands, such as its validation Dice; higher is better.
        random: the order.
    """
    operations: dict[str, str] = {}
    edges: dict[str, bool] = {}
    num_scored = 0
    with _as_found(layers, gates):
        for label in _in_random_order(layers, random):
            layer, without = layers[label], dict[str, float]()
            weights = dict(zip(layer.names, layer.weights().tolist(), strict=True))
            for name in sorted(layer.names, key=lambda name: weights[name]):
                layer.sampled = frozenset(layer.names) - {name}
                without[name] = score()
                num_scored += 1
            layer.sampled = None
            lowest = min(without.values())
            layer.chosen = operations[label] = [name for name in without if without[name] == lowest][-1]
        present = score()
        num_scored += 1
        for label in _in_random_order(gates, random):
            gate = gates[label]
            gate.is_open = False
            absent = score()
            num_scored += 1
            edges[label] = gate.is_open = absent < present
            if not gate.is_open:
                present = absent
    return Decisions(operations, edges, num_scored)


def _in_random_order(labels: Mapping[str, object], random: Random) -> list[str]:
    order = sorted(labels)
    random.shuffle(order)
    return order


@contextmanager
def _as_found(layers: Mapping[str, MixedLayer], gates: Mapping[str, SigmoidGate]) -> Iterator[None]:
    try:
        yield
    finally:
        for layer in layers.values():
            layer.sampled = layer.chosen = None
        for gate in gates.values():
            gate.is_open = None
