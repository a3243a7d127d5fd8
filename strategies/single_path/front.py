"""The networks of one search with the best Dice for their cost; plain Python, no tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search_space.cost import Cost
from search_space.errors import UserError
from search_space.genotype import Genotype


@dataclass(frozen=True)
class Candidate:
    """A measured architecture.

    Attributes:
        genotype: the architecture.
        dice: the Dice that the search measured, in [0, 1].
        cost: parameters and multiply-adds at the width of the search.
        latency_ms: time for one patch on the measuring machine, in ms, predicted or measured; None:
            unknown.
    """

    genotype: Genotype
    dice: float
    cost: Cost
    latency_ms: float | None = None


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates that none beats in Dice at equal or fewer multiply-adds, cheapest first."""
    best: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda each: (each.cost.multiply_adds, -each.dice)):
        if not best or candidate.dice > best[-1].dice:
            best.append(candidate)
    return best


def best_within(
    candidates: Sequence[Candidate],
    *,
    multiply_adds: float | None = None,
    parameters: float | None = None,
    latency_ms: float | None = None,
) -> Candidate:
    """The candidate with the highest Dice within all given limits.

    Args:
        candidates: the measured architectures.
        multiply_adds: the largest number of multiply-adds; None: no limit.
        parameters: the largest number of parameters; None: no limit.
        latency_ms: the longest time for one patch, in ms; None: no limit.

    Raises:
        UserError: if latency is limited but was not measured, or if no candidate keeps the limits;
            the message then names the smallest cost.
    """
    limits = {"multiply-adds": multiply_adds, "parameters": parameters, "ms": latency_ms}
    if latency_ms is not None and any(candidate.latency_ms is None for candidate in candidates):
        raise UserError(
            "the latencies of this search are unknown; measure them: uxnet latency, with its folder"
        )

    def costs(candidate: Candidate) -> dict[str, float]:
        found = {"multiply-adds": candidate.cost.multiply_adds, "parameters": candidate.cost.parameters}
        return found | {"ms": candidate.latency_ms or 0.0}

    given = {name: limit for name, limit in limits.items() if limit is not None}
    within = [each for each in candidates if all(costs(each)[name] <= given[name] for name in given)]
    if not within:
        least = ", ".join(f"{min(costs(each)[name] for each in candidates):.4g} {name}" for name in given)
        wanted = ", ".join(f"{limit:.4g} {name}" for name, limit in given.items())
        raise UserError(f"no network of this search needs at most {wanted}; the smallest needs {least}")
    return max(within, key=lambda each: each.dice)
