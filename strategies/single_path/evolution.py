"""NNI's regularized evolution, and NNI's random search, under hard cost limits."""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from collections.abc import Callable

from nni.nas.strategy import Random, RegularizedEvolution

from search_space.genotype import Genotype

from .proposals import Measure, measure_proposals
from .sampling import Sampler

MUTATED_CHOICES = 3
"""Mean number of choices that a child changes."""


def evolve(
    sampler: Sampler,
    measure: Measure,
    *,
    excess: Callable[[Genotype], float],
    num_measured: int,
    population: int,
    seed: int,
) -> None:
    """Measures a random population, then children of the best; see :func:`measure_proposals`.

    Args:
        sampler, measure, excess, num_measured: see :func:`measure_proposals`.
        population: number of random architectures among them; also the size of the population.
        seed: seed of the random numbers.
    """
    strategy = RegularizedEvolution(
        population_size=population,
        sample_size=max(2, population // 4),
        mutation_prob=min(1.0, MUTATED_CHOICES / len(sampler.choices)),
        dedup=True,
        seed=seed,
    )
    measure_proposals(strategy, sampler, measure, excess=excess, num_measured=num_measured)


def draw_at_random(
    sampler: Sampler,
    measure: Measure,
    *,
    excess: Callable[[Genotype], float],
    num_measured: int,
    population: int,
    seed: int,
) -> None:
    """Measures random architectures; ``population`` has no effect. See :func:`evolve`."""
    strategy = Random(dedup=True, seed=seed)
    measure_proposals(strategy, sampler, measure, excess=excess, num_measured=num_measured)
