"""SparseDARTS: first-order bi-level search with sigmoid gates, a sparsity penalty and threshold pruning (section 2)."""

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

from .bilevel_steps import Schedule, SearchableSpace, SparseDartsModule, SparsitySchedule
from .gates import SigmoidGate
from .mixed_layer import MixedLayer
from .pruning import derive


class SparseDARTS(DARTS):
    """The strategy of UXNet: searches operations and aggregation edges at once.

    Args:
        alpha_learning_rate: of the layers' softmax weights.
        beta_learning_rate: of the gates.
        alpha_schedule, beta_schedule: ``constant``, or ``cosine`` (to 0 over the epochs after the warm-up).
        sparsity_weight: weight of J (equation 2).
        sparsity_schedule: ``constant``, or ``rising`` linearly from 0 over the first 60 % of the epochs after the warm-up
            (an addition of ours), since J drives a gate on in whatever direction its first steps took.
        edge_weight: weight of the expected share of edges, the mean gate (an L0 penalty as in Louizos et al. 2018; an
            addition of ours, 0 in the paper): an edge that the others make superfluous has to be worth this / E.
        cost_weight: weight of the expected multiply-adds (an addition of ours; 0 in the paper).
        final_temperature: T of softmax(alpha / T) falls geometrically from 1 to this over the first 60 % of the epochs
            after the warm-up, so that each layer ends as nearly one operation (an addition of ours; 1 in the paper).
        commit: after 60 % of the epochs after the warm-up, compute what would be derived: of each layer its leading
            operation alone, which stays, and each edge fully or not at all, as ``prune_threshold`` has it; the gates
            go on learning with the gradient that they would have had (straight-through), but for the last 20 %. So
            weights adapt to the derived network (an addition of ours).
        sample_edges: until then, draw in every step which edges are there, each with the probability of its gate, with a
            straight-through gradient. A gate that scales its edge gets no signal once the weights have made up for the
            scale; the gradient of an edge that is absent tells what it would add (an addition of ours).
        sample_operations: until then, leave out each candidate with a probability of 1/2 in the steps of the weights, so
            that each learns to do without the others (an addition of ours).
        seed: of what is drawn.
        warmup_epochs: the first epochs move the network weights alone.
        prune_threshold: tau, which edges to keep unless :meth:`export` is told otherwise.
        gradient_clip_norm: largest norm of the weights' gradient; None does not clip.
        folded: compute mixed layers and aggregations by parts; the same function, faster.
        validation_dataloaders: batches for the evaluator's ``validation_step``, apart from both halves of the search;
            None validates on the architecture half.
    """

    def __init__(
        self,
        *,
        alpha_learning_rate: float = 2e-2,
        beta_learning_rate: float = 1e-1,
        alpha_schedule: Schedule = "constant",
        beta_schedule: Schedule = "constant",
        sparsity_weight: float = 1.0,
        sparsity_schedule: SparsitySchedule = "constant",
        edge_weight: float = 0.0,
        cost_weight: float = 0.0,
        final_temperature: float = 1.0,
        commit: bool = False,
        sample_edges: bool = False,
        sample_operations: bool = False,
        seed: int = 0,
        warmup_epochs: int = 0,
        prune_threshold: float = 0.75,
        gradient_clip_norm: float | None = None,
        folded: bool = True,
        validation_dataloaders: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(warmup_epochs=warmup_epochs, **kwargs)
        self._module_settings: dict[str, Any] = {
            "alpha_learning_rate": alpha_learning_rate,
            "beta_learning_rate": beta_learning_rate,
            "alpha_schedule": alpha_schedule,
            "beta_schedule": beta_schedule,
            "sparsity_weight": sparsity_weight,
            "sparsity_schedule": sparsity_schedule,
            "edge_weight": edge_weight,
            "cost_weight": cost_weight,
            "final_temperature": final_temperature,
            "commit": commit,
            "sample_edges": sample_edges,
            "sample_operations": sample_operations,
            "seed": seed,
            "prune_threshold": prune_threshold,
            "warmup_epochs": warmup_epochs,
            "gradient_clip_norm": gradient_clip_norm,
        }
        self.prune_threshold = prune_threshold
        self.folded = folded
        self.validation_dataloaders = validation_dataloaders

    def configure_oneshot_module(self, training_module: LightningModule) -> SparseDartsModule:
        return SparseDartsModule(training_module, **self._module_settings)

    def default_mutation_hooks(self) -> list[Any]:
        return [MixedLayer.mutate, SigmoidGate.mutate, no_default_hook]

    def run_hook(self, hook: Any, name: str, module: nn.Module, memo: dict[str, Any]) -> Any:
        memo.update(self._arch_parameters)
        return hook(module, name, memo, {"folded": self.folded})

    def mutate_model(self, model: Any) -> Any:
        """Turns the space into a supernet, in place: alpha = 0 (uniform) and beta = 0 (gates at 0.5)."""
        layers = {str(module.label) for module in model.modules() if type(module) is LayerChoice}
        self._arch_parameters = {
            label: nn.Parameter(torch.zeros(len(choice.values) if label in layers else ()))
            for label, choice in model.simplify().items()
        }
        # Past DARTS.mutate_model, which would give a gate two parameters and random starts.
        model = OneShotStrategy.mutate_model(self, model)
        gates = {str(m.label): m for m in model.modules() if isinstance(m, SigmoidGate)}

        if self.folded:
            model.share_aggregation(
                lambda edge: gates[str(edge)].summand_factor() if str(edge) in gates else None
            )
        if gates:
            model.weigh_nodes(lambda edge: gates[str(edge)].factor() if str(edge) in gates else None)
        return model

    def val_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        return val_dataloader_fn() if self.validation_dataloaders is None else self.validation_dataloaders

    @property
    def module(self) -> SparseDartsModule:
        """The Lightning module of the search; there once the strategy has been initialised."""
        module = self.oneshot_module
        assert isinstance(module, SparseDartsModule)
        return module

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
        """The genotype at ``prune_threshold`` (None: the strategy's own); any number of them after one search."""
        space: SearchableSpace = self.supernet  # type: ignore[assignment]
        return derive(
            space.grid,
            self.gates(),
            self.alphas(),
            self.prune_threshold if prune_threshold is None else prune_threshold,
            fixed_operations=space.fixed_operations,
            fixed_edges=space.fixed_edges,
            provenance=provenance,
        )
