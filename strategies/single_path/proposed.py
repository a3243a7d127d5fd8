"""Which measured architectures are worth a training; plain Python, no tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from search_space.genotype import Genotype

from .front import Candidate

LEAST_DIFFERENCE = 0.15
"""Share of their choices that two proposals differ in, at least. The best networks of an evolution
differ in less than a tenth, two random ones in about 30 %."""


def propose_best(
    candidates: Iterable[Candidate], number: int, *, least_difference: float = LEAST_DIFFERENCE
) -> list[Genotype]:
    """The architectures with the highest Dice that differ from each other, best first.

    The best networks of an evolution are nearly one and the same. Training several of them would
    tell little more than training one. If too few differ, the best of the others fill up.

    Args:
        candidates: measured architectures.
        number: how many are wanted; there may be fewer candidates.
        least_difference: the :func:`difference` of any two of them, at least, if enough differ.
    """
    ranked = list(dict.fromkeys(each.genotype for each in sorted(candidates, key=lambda each: -each.dice)))
    chosen: list[Genotype] = []
    for genotype in ranked:
        if len(chosen) < number and all(difference(genotype, other) >= least_difference for other in chosen):
            chosen.append(genotype)
    others = [genotype for genotype in ranked if genotype not in chosen]
    return chosen + others[: number - len(chosen)]


def difference(one: Genotype, other: Genotype) -> float:
    """The share of choices that differ, among the edges, operations and widths that either has."""
    of_one, of_other = set(_choices(one)), set(_choices(other))
    names = {name for name, _ in of_one | of_other}
    return len({name for name, _ in of_one ^ of_other}) / len(names)


def _choices(genotype: Genotype) -> Iterator[tuple[str, object]]:
    yield from ((str(edge), True) for edge in genotype.edges)
    yield from ((str(layer), operation) for layer, operation in genotype.operations.items())
    yield from ((f"width/{level}", factor) for level, factor in enumerate(genotype.widths or ()))
