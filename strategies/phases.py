"""The phases of a search: warm-up, search, commitment, adaptation; plain Python, no torch.

A search without commitment has the phases warm-up and search only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .schedule import cosine
from .settings import StrategySettings

COMMITMENT_SHARE = 0.6
"""Fraction of post-warm-up epochs before discretisation."""
ADAPTATION_SHARE = 0.2
"""Final fraction of post-warm-up epochs that trains weights only."""

PhaseName = Literal["warm-up", "search", "commitment", "adaptation"]


@dataclass(frozen=True)
class Phase:
    """The phase, and the values of the scheduled settings, in one epoch.

    Args:
        settings: all settings of the search.
        epoch: the epoch, from 0.
        num_epochs: epochs of the whole search, warm-up included.
    """

    settings: StrategySettings
    epoch: int
    num_epochs: int

    @property
    def name(self) -> PhaseName:
        """The phase's name.

        - warm-up: weight steps only.
        - search: architecture and weight steps on the relaxed supernet.
        - commitment: the derived network is computed; gates still learn.
        - adaptation: the derived network is computed; weight steps only.
        """
        if self.epoch < self.settings.warmup_epochs:
            return "warm-up"
        if self.settings.commit and self.progress >= 1 - ADAPTATION_SHARE:
            return "adaptation"
        return "commitment" if self.is_committed else "search"

    @property
    def progress(self) -> float:
        """Fraction of the post-warm-up epochs that is done, in [0, 1)."""
        warmup = self.settings.warmup_epochs
        return max(0.0, (self.epoch - warmup) / max(1, self.num_epochs - warmup))

    @property
    def warmth(self) -> float:
        """Fraction of the warm-up that is done, in [0, 1]; scales how much sampling leaves out.

        The weights first train with everything present, then learn to do without.
        """
        warmup = self.settings.warmup_epochs
        return min(1.0, self.epoch / warmup) if warmup else 1.0

    @property
    def commitment(self) -> float:
        """Fraction of the way to discretisation, in [0, 1]; 0 right after the warm-up."""
        return min(1.0, self.progress / COMMITMENT_SHARE)

    @property
    def is_committed(self) -> bool:
        """Whether the supernet computes the derived network only."""
        return self.settings.commit and self.commitment == 1.0

    @property
    def temperature(self) -> float:
        """T of softmax(alpha / T); falls geometrically from 1 to ``final_temperature``."""
        return self.settings.final_temperature**self.commitment

    @property
    def sparsity_weight(self) -> float:
        """The weight of J in this epoch."""
        rise = self.commitment if self.settings.sparsity_schedule == "rising" else 1.0
        return self.settings.sparsity_weight * rise

    def has_architecture_steps(self, searches_edges: bool) -> bool:
        """Whether alpha and beta are trained in this epoch.

        Args:
            searches_edges: whether the space has gates; without them, nothing is left to learn
                once the operations are chosen.
        """
        return self.name == "search" or (self.name == "commitment" and searches_edges)

    def alpha_learning_rate(self) -> float:
        """Learning rate of alpha: 0 once operations are chosen.

        It falls with T, so that alpha / T does not move faster as T falls.
        """
        rate = self.settings.alpha_learning_rate * self._decay(self.settings.alpha_schedule)
        return rate * (0.0 if self.is_committed else self.temperature)

    def beta_learning_rate(self) -> float:
        """Learning rate of beta."""
        return self.settings.beta_learning_rate * self._decay(self.settings.beta_schedule)

    def _decay(self, schedule: str) -> float:
        return 1.0 if schedule == "constant" else cosine(self.progress)
