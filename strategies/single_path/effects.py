"""How the Dice of measured architectures depends on their choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from search_space.genotype import Genotype

from .features import Array, feature_names, features, operations_of

NUM_RESAMPLES = 2000
LEAST_NETWORKS = 10
"""The interval of fewer networks says nothing."""


class Effect(NamedTuple):
    """How one choice goes together with the Dice.

    Attributes:
        choice: a level's width, the number of edges, or an operation's share of its kind of layer.
        correlation: Spearman's rank correlation with the Dice.
        low, high: its interval of 95 %, a bootstrap over the architectures.
    """

    choice: str
    correlation: float
    low: float
    high: float


def effects(genotypes: Sequence[Genotype], dice: Sequence[float]) -> list[Effect]:
    """The effect of each choice that varies, the strongest first.

    Within a budget, choices are not independent: more edges leave less for the widths. The effects
    include that. They are those of the space only if the architectures are random: proposals of a
    search lie where it expects good ones.

    Args:
        genotypes: at least ``LEAST_NETWORKS`` architectures with equally many levels.
        dice: their Dice.
    """
    operations = operations_of(genotypes)
    known, values = features(genotypes, operations), np.asarray(dice, dtype=np.float64)
    random = np.random.default_rng(0)
    drawn = random.integers(len(values), size=(NUM_RESAMPLES, len(values)))
    found = []
    for name, column in zip(feature_names(genotypes[0].levels, operations), known.T, strict=True):
        if np.ptp(column) > 0:
            resampled = _correlations(column[drawn], values[drawn])
            low, high = np.nanpercentile(resampled, [2.5, 97.5])
            whole = _correlations(column[None], values[None])[0]
            found.append(Effect(name, float(whole), float(low), float(high)))
    return sorted(found, key=lambda effect: -abs(effect.correlation))


def _correlations(left: Array, right: Array) -> Array:
    """Spearman's rank correlation of each pair of rows; NaN where a row is constant."""
    ranks = [rankdata(each, axis=1) for each in (left, right)]
    centred = [each - each.mean(1, keepdims=True) for each in ranks]
    norms = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    products = (centred[0] * centred[1]).sum(1)
    return np.divide(products, norms, out=np.full(len(norms), np.nan), where=norms > 0)
