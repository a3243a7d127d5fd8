"""SparseDARTS (section 2): bi-level search with sigmoid gates, sparsity and threshold pruning.

The search is first-order: the architecture step keeps the network weights fixed.
"""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from collections.abc import Mapping
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.nn.pytorch import LayerChoice
from nni.nas.oneshot.pytorch.strategy import DARTS, OneShotStrategy, no_default_hook
from torch import nn

from search_space.genotype import Genotype
from search_space.grid import Edge, Layer

from .bilevel_steps import SparseDartsModule
from .gates import SigmoidGate
from .mixed_layer import MixedLayer
from .pruning import derive
from .settings import StrategySettings
from .supernet import SearchableSpace, connect_gates


class SparseDARTS(DARTS):
    """The strategy of UXNet, which searches operations and aggregation edges at once.

    Args:
        settings: all settings of the search; None takes the defaults.
        validation_dataloaders: batches for the evaluator's ``validation_step``, apart from both
            halves of the search; None validates on the architecture half.
    """

    def __init__(
        self, settings: StrategySettings | None = None, *, validation_dataloaders: Any = None, **kwargs: Any
    ) -> None:
        self.settings = settings or StrategySettings()
        super().__init__(warmup_epochs=self.settings.warmup_epochs, **kwargs)
        self.validation_dataloaders = validation_dataloaders

    def configure_oneshot_module(self, training_module: LightningModule) -> SparseDartsModule:
        return SparseDartsModule(training_module, self.settings)

    def default_mutation_hooks(self) -> list[Any]:
        return [MixedLayer.mutate, SigmoidGate.mutate, no_default_hook]

    def run_hook(self, hook: Any, name: str, module: nn.Module, memo: dict[str, Any]) -> Any:
        memo.update(self._arch_parameters)
        return hook(module, name, memo, {"folded": self.settings.folded})

    def mutate_model(self, model: Any) -> Any:
        """The space as a supernet, in place: alpha = 0 (uniform) and beta = 0 (gates at 0.5)."""
        layers = {str(module.label) for module in model.modules() if type(module) is LayerChoice}
        self._arch_parameters = {
            label: nn.Parameter(torch.zeros(len(choice.values) if label in layers else ()))
            for label, choice in model.simplify().items()
        }
        # This skips DARTS.mutate_model, which would give a gate two parameters and random values.
        model = OneShotStrategy.mutate_model(self, model)
        gates = {str(m.label): m for m in model.modules() if isinstance(m, SigmoidGate)}

        connect_gates(model, gates, by_parts=self.settings.folded)
        return model

    def val_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        return val_dataloader_fn() if self.validation_dataloaders is None else self.validation_dataloaders

    @property
    def module(self) -> SparseDartsModule:
        """The Lightning module of the search; it exists after the strategy is initialised."""
        module = self.oneshot_module
        assert isinstance(module, SparseDartsModule)
        return module

    @property
    def prune_threshold(self) -> float:
        """tau: an edge is kept if its gate is at least this."""
        return self.settings.prune_threshold

    def gates(self) -> dict[Edge, float]:
        """sigma(beta) of every searched edge, in [0, 1]."""
        gates = {Edge.parse(label): gate.gate().item() for label, gate in self.module.gates.items()}
        return dict(sorted(gates.items()))

    def alphas(self) -> dict[Layer, dict[str, float]]:
        """softmax(alpha / T) of every searched layer, by candidate; each sums to 1."""
        space: SearchableSpace = self.supernet  # type: ignore[assignment]
        result = {}
        for layer in space.searched_layers:
            mixed = self.module.mixed_layers[str(layer)]
            weights = mixed.weights().detach().tolist()
            result[layer] = dict(zip(mixed.names, weights, strict=True))
        return result

    def export(
        self, prune_threshold: float | None = None, provenance: Mapping[str, Any] | None = None
    ) -> Genotype:
        """The genotype at one threshold; one search can export any number of them.

        Args:
            prune_threshold: tau, in (0, 1); None: that of the settings.
            provenance: stored in the genotype.
        """
        space: SearchableSpace = self.supernet  # type: ignore[assignment]
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
