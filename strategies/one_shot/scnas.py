"""SCNAS (Kim et al., MICCAI 2019) on this space: one choice for each kind of cell.

As in the paper, there are four kinds of cell: encoder, reduction, decoder and expansion. All cells
of a kind share their choice. Each step draws it by Gumbel softmax. The network is a U-Net. Here, a
cell is one layer of the space; in the paper, it is a graph of several operations.
"""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from typing import Any

import torch
from nni.nas.nn.pytorch import LayerChoice
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy, no_default_hook
from nni.nas.oneshot.pytorch.supermodule.differentiable import GumbelSoftmax
from torch import Tensor, nn

from search_space.genotype import parse_layer
from search_space.grid import Layer

from ..mixed_layer import MixedLayer
from .relaxation import RelaxedGumbelDARTS


def kind_of_cell(layer: Layer) -> str:
    """The kind of cell that a layer is: ``encoder``, ``reduction``, ``decoder``, ``expansion``."""
    if layer.kind != "normal":
        return layer.kind
    return "encoder" if layer.node.stage == 0 else "decoder"


class CellDraw(GumbelSoftmax):
    """One draw for all cells of a kind: softmax((alpha + noise) / tau), in training mode.

    In validation it is softmax(alpha).
    """

    noise: Tensor | None = None
    """Gumbel noise, as many numbers as candidates; None before the first draw."""

    def draw(self, alpha: Tensor) -> None:
        """Draws new noise from PyTorch's random numbers."""
        self.noise = -torch.empty_like(alpha).exponential_().log()

    def forward(self, alpha: Tensor) -> Tensor:
        if not self.training or self.noise is None:
            return torch.softmax(alpha, self.dim)
        return torch.softmax((alpha + self.noise) / self.tau, self.dim)


class CellLayer(MixedLayer):
    """A layer whose weights are those drawn for its kind of cell."""

    def weights(self) -> Tensor:
        return self._softmax(self._arch_alpha)

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        """Draws for the kind of cell, unless another of its layers has done so in this step."""
        kind = kind_of_cell(parse_layer(str(self.label)))
        if kind in memo:
            return {}
        self._softmax.draw(self._arch_alpha.detach())
        return {kind: None}

    @classmethod
    def mutate(cls, module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]) -> Any:
        """NNI's hook: replaces every ``LayerChoice``."""
        if type(module) is not LayerChoice:
            return None
        choice: Any = module
        candidates = {str(key): choice[key] for key in choice.names}
        draw = mutate_kwargs["draws"][kind_of_cell(parse_layer(str(choice.label)))]
        mixed = cls(candidates, memo[choice.label], draw, choice.label)
        mixed.folded = mutate_kwargs["folded"]
        return mixed


class SCNAS(RelaxedGumbelDARTS):
    """The strategy of SCNAS; its settings are those of :class:`RelaxedDARTS`, and ``folded``.

    The space may not search edges.
    """

    def default_mutation_hooks(self) -> list[Any]:
        return [CellLayer.mutate, no_default_hook]

    def run_hook(self, hook: Any, name: str, module: nn.Module, memo: dict[str, Any]) -> Any:
        memo.update(self._arch_parameters)
        return hook(module, name, memo, {"folded": self.settings.folded, "draws": self._draws})

    def mutate_model(self, model: Any) -> Any:
        """The space as a supernet, in place: alpha = 0 for each kind of cell, so all are alike."""
        alphas: dict[str, nn.Parameter] = {}
        self._arch_parameters = {}
        for label, choice in model.simplify().items():
            kind = kind_of_cell(parse_layer(label))
            alpha = alphas.setdefault(kind, nn.Parameter(torch.zeros(len(choice.values))))
            if len(alpha) != len(choice.values):
                raise ValueError(f"{label}: has other candidates than the cells of its kind ({kind})")
            self._arch_parameters[label] = alpha
        self._draws = {kind: CellDraw() for kind in alphas}
        return OneShotStrategy.mutate_model(self, model)
