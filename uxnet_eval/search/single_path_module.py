"""Shared weights that learn by single paths, as a Lightning module.

Shapes: B batch, C channels, K classes, *S = H W or D H W.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import Tensor

from search_space import Genotype, SearchSpaceConfig, UXNet, presets
from search_space.errors import UserError
from search_space.space import UXNetSpace
from strategies.finite import check_finite
from strategies.single_path.sampling import Sampler
from strategies.single_path.shared_weights import SharedWeights

from ..recipe.deep_supervision import supervised_nodes
from ..recipe.loss import distillation_loss, segmentation_loss
from ..recipe.precision import channels_last
from .module import SegmentationModule


class SinglePathModule(SegmentationModule):
    """Trains shared weights: every step draws its architectures anew.

    What is drawn is a function of seed, epoch, step and path, so that a run that goes on draws the
    same.

    Args:
        shared: the weights.
        sampler: draws architectures.
        excess: how far one is beyond the limits.
        anchor: the architecture that is validated, the U-Net of the space.
        paths_per_step: architectures per batch.
        seed: of the draws.
        sandwich: whether each is trained at its largest and smallest widths too (sandwich rule, Yu
            et al. 2020).
        others: see :class:`SegmentationModule`.
    """

    def __init__(
        self,
        shared: SharedWeights,
        sampler: Sampler,
        excess: Callable[[Genotype], float],
        anchor: Genotype,
        *,
        paths_per_step: int,
        seed: int,
        sandwich: bool = False,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.shared, self.sampler, self.excess, self.anchor = shared, sampler, excess, anchor
        self.paths_per_step, self.seed, self.sandwich = paths_per_step, seed, sandwich

    def forward(self, image: Tensor, genotype: Genotype | None = None) -> Tensor | list[Tensor]:
        if self.channels_last:
            image = image.to(memory_format=channels_last(self.plan.spatial_dims))
        return self.shared(self.anchor if genotype is None else genotype, image)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        total = torch.zeros((), device=self.device)
        for path in range(self.paths_per_step):
            random = Random(f"{self.seed}/{self.current_epoch}/{batch_idx}/{path}")
            genotype = self.sampler.draw(random, self.excess)
            loss = self._loss(batch["image"], batch["label"], genotype)
            check_finite(loss.detach(), "the loss is", self.current_epoch)
            total = total + loss / self.paths_per_step
        self.log("loss/weights", total.detach(), prog_bar=True)
        return total

    def _loss(self, image: Tensor, label: Tensor, genotype: Genotype) -> Tensor:
        """The loss of an architecture; with ``sandwich``, the mean over its three widths.

        Deviation from Yu et al. (2020): the narrower networks learn from the labels too, because
        Dice needs them, and a drawn architecture takes the place of the random widths.
        """
        if not self.sandwich:
            return segmentation_loss(self(image, genotype), label)
        choices = self.sampler.config.width_choices
        widest = self(image, _at_width(genotype, max(choices)))
        total = segmentation_loss(widest, label)
        for narrower in (genotype, _at_width(genotype, min(choices))):
            outputs = self(image, narrower)
            total = total + segmentation_loss(outputs, label) + distillation_loss(outputs, widest)
        return total / 3


def _at_width(genotype: Genotype, factor: float) -> Genotype:
    return genotype.model_copy(update={"widths": (factor,) * genotype.levels})


def anchor_of(config: SearchSpaceConfig) -> Genotype:
    """The U-Net as an architecture of the space, with the width nearest to 1 at every level."""
    unet = presets.get("unet", config.levels)
    width = min(config.width_choices, key=lambda factor: abs(factor - 1))
    return Genotype.from_choices(
        config.levels,
        unet.edges,
        unet.operations,
        widths=(width,) * config.levels if len(config.width_choices) > 1 else None,
        edge_scale=config.edge_scale,
    )


def shared_weights(space: SearchSpaceConfig, *, supervised: bool) -> SharedWeights:
    """The weights of all architectures of a space, at its largest width."""
    widest = space.with_widths((max(space.width_choices),) * space.levels)
    supernet = UXNetSpace(widest)
    if supervised:
        supernet.supervise(supervised_nodes(space.levels, space.grid.nodes))
    return SharedWeights(supernet, _builder(space, supervised), supernet.fixed_operations)


def fresh_networks(space: SearchSpaceConfig, *, supervised: bool, seed: int) -> Callable[[Genotype], UXNet]:
    """Builds networks with random weights; the same seed and genotype give the same weights."""
    build = _builder(space, supervised)

    def fresh(genotype: Genotype) -> UXNet:
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            return build(genotype)

    return fresh


def _builder(space: SearchSpaceConfig, supervised: bool) -> Callable[[Genotype], UXNet]:
    def build(genotype: Genotype) -> UXNet:
        network = UXNet(space, genotype)
        if supervised:
            network.supervise(supervised_nodes(space.levels, genotype.nodes))
        return network

    return build


def check_space(sampler: Sampler, anchor: Genotype) -> None:
    """Raises :class:`UserError` unless the space holds the U-Net, which is validated."""
    for layer, name in anchor.operations.items():
        if name not in sampler.choices[str(layer)]:
            raise UserError(
                f"space: {layer} does not offer '{name}', which the U-Net has there; add it to the {layer.kind} "
                "candidates" + (", or set pass_through: true" if name == "identity" else "")
            )
