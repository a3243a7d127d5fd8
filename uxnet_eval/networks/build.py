"""From an architecture, a plan and a width to a network."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from search_space import SearchSpaceConfig, UXNet
from search_space.errors import UserError

from ..architectures.architecture import Architecture, level_channels
from ..config.plan import Plan
from ..recipe.deep_supervision import supervised_nodes
from .baselines import build_baseline
from .small_maps import keep_exact_on_small_maps


class FineWidth(SearchSpaceConfig):
    """The configuration of a fixed network; base channels may be fractional."""

    width: float = Field(ge=1)
    """In place of ``base_channels``; see :func:`level_channels`."""

    def channels(self, level: int) -> int:
        factor = 1.0 if self.widths is None else self.widths[level]
        return max(1, level_channels(self.width * factor, level, self.max_channels))


def build_network(
    architecture: Architecture,
    plan: Plan,
    in_channels: int,
    num_classes: int,
    *,
    base_channels: float,
    max_channels: int,
    deep_supervision: bool = False,
) -> nn.Module:
    """The network, with random weights.

    It maps (B, in_channels, *patch_size) to logits (B, num_classes, *patch_size).

    With deep supervision it has further heads, and in training mode returns a list of logits; its
    other weights have the same names as without.

    Raises:
        UserError: if the architecture cannot be built on this plan, or offers no deep supervision.
    """
    if deep_supervision and not offers_deep_supervision(architecture, plan):
        raise UserError(
            f"{architecture.name}: offers no deep supervision with {plan.levels} levels; set deep_supervision to auto"
        )
    if architecture.genotype is None:
        baseline = build_baseline(
            architecture.name,
            plan,
            in_channels,
            num_classes,
            base_channels=base_channels,
            max_channels=max_channels,
            deep_supervision=deep_supervision,
        )
        return keep_exact_on_small_maps(baseline)
    config = FineWidth(
        spatial_dims=plan.spatial_dims,
        in_channels=in_channels,
        num_classes=num_classes,
        levels=plan.levels,
        strides=plan.strides,
        width=base_channels,
        max_channels=max_channels,
    )
    try:
        network = UXNet(config, architecture.genotype)
    except UserError as error:
        raise UserError(f"{architecture.name}: {error}") from None
    if deep_supervision:
        network.supervise(supervised_nodes(plan.levels, architecture.genotype.nodes))
    return network


def offers_deep_supervision(architecture: Architecture, plan: Plan) -> bool:
    """Whether the architecture has coarser outputs for a loss (DynUNet, U-Net++, the grid)."""
    if architecture.genotype is not None:
        return bool(supervised_nodes(plan.levels, architecture.genotype.nodes))
    return architecture.name == "monai-unet++" or (architecture.name == "dynunet" and plan.levels > 3)
