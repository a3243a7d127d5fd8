"""A regression from choices to Dice proposes what to measure; plain Python and NumPy, no tensors.

Random architectures are measured first. Then a ridge regression from the choices of an architecture
to its Dice proposes one architecture after the other, and learns from each. Wen et al. (Neural
Predictor for Neural Architecture Search, ECCV 2020) fit a graph network to random architectures
once. Deviations: the model is linear, because a search here measures some tens of networks, not
hundreds; and it goes on learning from what it proposes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from search_space.genotype import Genotype

from .features import Array, features, operations_of
from .sampling import Sampler

if TYPE_CHECKING:
    from .proposals import Measure

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)
"""The one with the least error on networks that are left out is taken."""
LEAST_MEASURED = 3
"""Fewer networks tell a regression nothing."""
FLOOR = 2 * 1.4826
"""Dice count as no lower than so many median absolute deviations below the median, which are two
standard deviations of normal values. A network that has not found a class yet would else outweigh
all others."""
NUM_DRAWN, NUM_CHANGED, CHANGED_CHOICES = 40, 120, 3
"""A proposal is the best by prediction of some random architectures; then it is changed so often,
in so many choices at a time, and a change stays if the prediction rises."""


class Regression:
    """A ridge regression on widths, edges and operations.

    Args:
        genotypes: measured architectures of one space, at least one.
        dice: their Dice.
    """

    def __init__(self, genotypes: Sequence[Genotype], dice: Sequence[float]) -> None:
        self._operations = operations_of(genotypes)
        known, values = features(genotypes, self._operations), np.asarray(dice, dtype=np.float64)
        median = np.median(values)
        values = np.maximum(values, median - FLOOR * np.median(np.abs(values - median)))
        self._mean, self._dice = known.mean(0), float(values.mean())
        deviation = known.std(0)
        self._scale = np.where(deviation > 0, deviation, np.inf)  # what never varies says nothing
        scaled, centred = (known - self._mean) / self._scale, values - self._dice
        self.penalty = min(PENALTIES, key=lambda penalty: _left_out_error(scaled, centred, penalty))
        self._weights = _ridge(scaled, self.penalty) @ centred

    def predict(self, genotypes: Sequence[Genotype]) -> list[float]:
        """The Dice that it expects of architectures."""
        scaled = (features(genotypes, self._operations) - self._mean) / self._scale
        return [float(value) for value in scaled @ self._weights + self._dice]


def explore_by_regression(
    sampler: Sampler,
    measure: Measure,
    *,
    excess: Callable[[Genotype], float],
    num_measured: int,
    population: int,
    seed: int,
) -> None:
    """Measures random architectures, then those that a regression on all before expects to be best.

    The same seed and the same measurements give the same architectures. It ends early if it finds
    no other architecture.

    Args:
        sampler: the space.
        measure: the value to maximise.
        excess: how far a genotype exceeds the limits; 0 if it keeps them.
        num_measured: number of all measured architectures.
        population: number of random ones among them; at least ``LEAST_MEASURED`` are drawn.
        seed: seed of the random numbers.
    """
    known: dict[Genotype, float] = {}
    for number in range(num_measured):
        random = Random(f"{seed}/regression/{number}")
        if number < max(population, LEAST_MEASURED):
            found = _another(sampler, excess, random, known)
        else:
            regression = Regression(list(known), list(known.values()))
            found = _best(sampler, excess, random, known, regression)
        if found is None:
            return
        known[found] = measure(found)


def expected_dice(genotypes: Sequence[Genotype], dice: Sequence[float]) -> list[float]:
    """The Dice of measured architectures by a regression on all of them.

    It averages over the noise of single measurements, and so ranks better than they do.
    """
    return Regression(genotypes, dice).predict(genotypes)


def _another(
    sampler: Sampler, excess: Callable[[Genotype], float], random: Random, known: dict[Genotype, float]
) -> Genotype | None:
    """A random architecture that was not measured yet; None if none is found."""
    draws = (sampler.draw(random, excess) for _ in range(NUM_DRAWN))
    return next((genotype for genotype in draws if genotype not in known), None)


def _best(
    sampler: Sampler,
    excess: Callable[[Genotype], float],
    random: Random,
    known: dict[Genotype, float],
    regression: Regression,
) -> Genotype | None:
    """The best architecture by prediction that is found and was not measured yet."""
    drawn = [sampler.draw_choices(random, excess) for _ in range(NUM_DRAWN)]
    new = [(choices, genotype) for choices, genotype in drawn if genotype not in known]
    if not new:
        return None
    choices, best = max(new, key=lambda pair: regression.predict([pair[1]])[0])
    expected = regression.predict([best])[0]
    for _ in range(NUM_CHANGED):
        changed = choices | {
            name: random.choice(sampler.choices[name])
            for name in random.sample(list(choices), min(CHANGED_CHOICES, len(choices)))
        }
        genotype = sampler.led_into_limits(random, changed, excess)
        if genotype is None or genotype in known:
            continue
        dice = regression.predict([genotype])[0]
        if dice > expected:
            choices, best, expected = changed, genotype, dice
    return best


def _ridge(known: Array, penalty: float) -> Array:
    """The matrix that gives the weights of the features from the values."""
    inverse: Array = np.linalg.solve(known.T @ known + penalty * np.eye(known.shape[1]), known.T)
    return inverse


def _left_out_error(known: Array, values: Array, penalty: float) -> float:
    """Mean squared error on each network of a regression on the others, in closed form (PRESS)."""
    hat = known @ _ridge(known, penalty) + 1 / len(values)  # 1 / n: the mean is fitted too
    left_out = np.maximum(1 - np.diag(hat), 1e-9)
    return float(np.mean(((values - hat @ values) / left_out) ** 2))
