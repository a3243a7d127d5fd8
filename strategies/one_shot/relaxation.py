"""NNI's DARTS, GumbelDARTS and Proxyless on the space, with what a search reports of them."""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from collections.abc import Mapping
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.oneshot.pytorch.differentiable import LinearTemperatureScheduler
from nni.nas.oneshot.pytorch.strategy import DARTS, GumbelDARTS, Proxyless
from nni.nas.oneshot.pytorch.supermodule.differentiable import GumbelSoftmax
from torch import Tensor, nn

from search_space.genotype import Genotype
from search_space.grid import Edge, Layer

from ..pruning import derive
from ..settings import StrategySettings
from ..supernet import SearchableSpace
from .steps import ResumableDartsModule, ResumableGumbelModule, ResumableProxylessModule

LIKELIER = 0.5
"""NNI keeps the likelier of an edge's two candidates: a gate of at least this."""
TEMPERATURE = (1.0, 0.33)
"""NNI's temperatures of Gumbel softmax in the first and after the last epoch."""
KEPT = 1
"""The candidate of an edge's binary choice that is the edge; the other one is zero."""


class NoiseInTraining(GumbelSoftmax):
    """Gumbel softmax in training mode, softmax else: a validation draws nothing."""

    def forward(self, alpha: Tensor) -> Tensor:
        return super().forward(alpha) if self.training else torch.softmax(alpha, self.dim)


class RelaxedDARTS(DARTS):
    """NNI's DARTS, first order: every layer and edge is a softmax over its candidates.

    Args:
        settings: seed, warm-up, the learning rate of alpha (for edges too) and the limit of the
            gradient's norm; the other settings belong to SparseDARTS.
        validation_dataloaders: batches for the evaluator's ``validation_step``.
        kwargs: NNI's other arguments.
    """

    steps: type[ResumableDartsModule] = ResumableDartsModule

    def __init__(
        self, settings: StrategySettings | None = None, *, validation_dataloaders: Any = None, **kwargs: Any
    ) -> None:
        self.settings = settings or StrategySettings()
        super().__init__(
            arc_learning_rate=self.settings.alpha_learning_rate,
            gradient_clip_val=self.settings.gradient_clip_norm,
            warmup_epochs=self.settings.warmup_epochs,
            **kwargs,
        )
        self.validation_dataloaders = validation_dataloaders

    def configure_oneshot_module(self, training_module: LightningModule) -> ResumableDartsModule:
        return self.steps(training_module, seed=self.settings.seed, **self._step_settings())

    def _step_settings(self) -> dict[str, Any]:
        return {
            "arc_learning_rate": self.arc_learning_rate,
            "gradient_clip_val": self.gradient_clip_val,
            "warmup_epochs": self.warmup_epochs,
        }

    def val_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        return val_dataloader_fn() if self.validation_dataloaders is None else self.validation_dataloaders

    @property
    def prune_threshold(self) -> float:
        """The gate from which an edge is kept."""
        return LIKELIER

    @property
    def module(self) -> LightningModule:
        """The Lightning module of the search; it exists after the strategy is initialised."""
        return self.oneshot_module

    @property
    def _space(self) -> SearchableSpace:
        space: SearchableSpace = self.supernet  # type: ignore[assignment]
        return space

    def gates(self) -> dict[Edge, float]:
        """The probability that an edge is kept, in [0, 1], of every searched edge."""
        return {edge: self._probabilities(str(edge))[KEPT] for edge in self._space.searched_edges}

    def alphas(self) -> dict[Layer, dict[str, float]]:
        """The probability of each candidate of every searched layer; those of a layer sum to 1."""
        names = {str(m.label): m.names for m in self.supernet.modules() if hasattr(m, "names")}
        return {
            layer: dict(zip(names[str(layer)], self._probabilities(str(layer)), strict=True))
            for layer in self._space.searched_layers
        }

    def _probabilities(self, label: str) -> list[float]:
        return torch.softmax(self._arch_parameters[label].detach(), -1).tolist()

    def export(
        self, prune_threshold: float | None = None, provenance: Mapping[str, Any] | None = None
    ) -> Genotype:
        """The genotype of the likeliest candidates.

        Args:
            prune_threshold: the gate from which an edge is kept; None: 0.5, as NNI does.
            provenance: stored in the genotype.
        """
        space = self._space
        return derive(
            space.grid,
            self.gates(),
            self.alphas(),
            self.prune_threshold if prune_threshold is None else prune_threshold,
            fixed_operations=space.fixed_operations,
            fixed_edges=space.fixed_edges,
            edge_scale=space.edge_scale,
            provenance=provenance,
        )


class RelaxedGumbelDARTS(RelaxedDARTS, GumbelDARTS):
    """NNI's GumbelDARTS: in each step, noise makes the softmax favour a drawn candidate."""

    steps = ResumableGumbelModule

    def configure_softmax(self) -> nn.Module:
        return NoiseInTraining()

    def _step_settings(self) -> dict[str, Any]:
        return {**super()._step_settings(), "temperature_scheduler": LinearTemperatureScheduler(*TEMPERATURE)}


class RelaxedProxyless(RelaxedDARTS, Proxyless):
    """NNI's Proxyless: in each step, one candidate of each choice is drawn and computed."""

    steps = ResumableProxylessModule
