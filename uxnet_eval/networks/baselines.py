"""Baselines from MONAI, built on the plan of the data set.

Shapes: B batch, C channels, K classes, *P the plan's patch size. In training mode with deep
supervision a network returns a list of logits, the full resolution first; else the logits (B, K,
*P).
"""

from __future__ import annotations

import contextlib
import io

import numpy as np
import torch
from monai.networks.nets import BasicUNetPlusPlus, DiNTS, DynUNet, SegResNet, TopologyInstance, UNet
from torch import Tensor, nn

from search_space.errors import UserError

from ..architectures.architecture import level_channels
from ..config.plan import Plan

ANISOTROPY = 2.0
"""nnU-Net's kernels do not reach along an axis whose voxels are more than this times as long as the
shortest."""

INSTANCE_NORM = ("INSTANCE", {"affine": True})


def build_baseline(
    name: str,
    plan: Plan,
    in_channels: int,
    num_classes: int,
    *,
    base_channels: float,
    max_channels: int,
    deep_supervision: bool = False,
) -> nn.Module:
    """The baseline ``name`` of :data:`uxnet_eval.architectures.architecture.BASELINES`.

    ``dynunet`` and ``u-resnet`` take the plan's strides. The others halve every axis at every
    level: ``segresnet`` and ``dints`` as often as the plan has strides, ``monai-unet++`` four
    times.

    Args:
        name: of the baseline.
        plan: gives dimensions, strides, spacing and patch size.
        in_channels: C.
        num_classes: K.
        base_channels: channels of the finest level, doubled at each further one and rounded there;
            for ``segresnet`` rounded first.
        max_channels: bound of the channels, where the network has one.
        deep_supervision: only with ``dynunet`` and ``monai-unet++``.

    Raises:
        UserError: if the network cannot be built on this plan.
    """
    channels = [level_channels(base_channels, level, max_channels) for level in range(max(plan.levels, 5))]
    dims, depth = plan.spatial_dims, plan.levels
    if name == "dynunet":
        return _dynunet(plan, in_channels, num_classes, channels[:depth], deep_supervision)
    if name == "u-resnet":
        return UNet(
            dims,
            in_channels,
            num_classes,
            channels[:depth],
            plan.strides,
            num_res_units=2,
            norm=INSTANCE_NORM,
        )
    if name == "monai-unet++":
        return NestedUNet(
            dims, in_channels, num_classes, (*channels[:5], channels[0]), deep_supervision=deep_supervision
        )
    _check_halvings(name, plan, depth - 1)
    if name == "segresnet":
        return SegResNet(
            dims,
            level_channels(base_channels, 0, max_channels),
            in_channels,
            num_classes,
            norm=INSTANCE_NORM,  # its own, group norm, would bind the width to multiples of 8
            blocks_down=(1, *(2,) * (depth - 2), 4),
            blocks_up=(1,) * (depth - 1),
        )
    if name == "dints":
        return _dints(plan, in_channels, num_classes, base_channels)
    raise KeyError(name)


class SupervisedDynUNet(DynUNet):
    """DynUNet whose deep supervision is nnU-Net's: logits at their own resolution, not enlarged."""

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        logits = self.output_block(self.skip_layers(x))
        if not (self.training and self.deep_supervision):
            return logits
        outputs = [logits, *self.heads]
        self.heads[:] = [torch.empty(0)] * len(self.heads)  # else they keep this step's graph
        return outputs


class NestedUNet(BasicUNetPlusPlus):
    """BasicUNetPlusPlus that returns logits.

    With deep supervision it returns those of all four nodes of level 0.
    """

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        outputs = super().forward(x)[::-1]
        return outputs if self.training and self.deep_supervision else outputs[0]


def _dynunet(
    plan: Plan, in_channels: int, num_classes: int, channels: list[int], deep_supervision: bool
) -> DynUNet:
    if plan.levels < 3:
        raise UserError(f"dynunet: needs at least 3 levels; the plan's strides make {plan.levels}")
    strides = [(1,) * plan.spatial_dims, *plan.strides]
    return SupervisedDynUNet(
        plan.spatial_dims,
        in_channels,
        num_classes,
        kernel_size=nnunet_kernels(plan),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=channels,
        norm_name=INSTANCE_NORM,
        deep_supervision=deep_supervision,
        deep_supr_num=max(1, plan.levels - 3),  # as nnU-Net, which leaves out the two coarsest
    )


def nnunet_kernels(plan: Plan) -> list[tuple[int, ...]]:
    """nnU-Net's kernel size of every level: 3, or 1 along much coarser axes."""
    spacing, kernels = np.array(plan.spacing_mm), []
    for stride in ((1,) * plan.spatial_dims, *plan.strides):
        spacing = spacing * stride
        kernels.append(tuple(1 if s > ANISOTROPY * spacing.min() else 3 for s in spacing))
    return kernels


def _dints(plan: Plan, in_channels: int, num_classes: int, base_channels: float) -> DiNTS:
    num_blocks, num_depths = 6, plan.levels - 1  # MONAI's number of blocks; the stem halves once itself
    if num_depths < 2:
        raise UserError(f"dints: needs at least 3 levels; the plan's strides make {plan.levels}")
    num_paths = 3 * num_depths - 2
    all_paths = np.ones((num_blocks, num_paths), dtype=int)
    convolutions = np.ones((num_blocks, num_paths), dtype=int)  # operation 1 of each cell is 3x3x3
    with contextlib.redirect_stdout(io.StringIO()):  # it prints advice about the patch size
        topology = TopologyInstance(
            [all_paths, convolutions],
            channel_mul=base_channels / 32,
            num_blocks=num_blocks,
            num_depths=num_depths,
            spatial_dims=plan.spatial_dims,
        )
    return DiNTS(
        topology,
        in_channels,
        num_classes,
        spatial_dims=plan.spatial_dims,
        node_a=torch.ones((num_blocks + 1, num_depths), device="cpu"),  # it is asked for truth values
    )


def _check_halvings(name: str, plan: Plan, num_halvings: int) -> None:
    divisor = 2**num_halvings
    if any(size % divisor for size in plan.patch_size):
        raise UserError(
            f"{name}: halves every axis {num_halvings} times, but patch_size {list(plan.patch_size)} is not a multiple "
            f"of {divisor} along each axis; change patch_size, or take dynunet or u-resnet, which follow the strides"
        )
