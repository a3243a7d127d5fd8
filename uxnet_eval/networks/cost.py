"""What a network costs: its parameters, and the multiply-adds of one patch."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from search_space.errors import UserError

from ..config.plan import Plan


class Cost(NamedTuple):
    """Numbers that do not depend on the machine."""

    parameters: int
    """Trained numbers."""
    multiply_adds: int
    """Multiplications with addition in the convolutions of one forward pass of one patch (half the
    FLOPs)."""


def network_cost(network: nn.Module, plan: Plan, in_channels: int) -> Cost:
    """The cost of a network on patches of the plan.

    Nothing is computed, so it takes no time and no memory.

    Args:
        network: as it predicts, without heads of deep supervision; it is left as it is.
        plan: gives the patch size.
        in_channels: of the image.

    Raises:
        UserError: if the network cannot take such a patch.
    """
    model = copy.deepcopy(network).to("meta").eval()
    patch = torch.empty(1, in_channels, *plan.patch_size, device="meta")
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            model(patch)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{type(network).__name__}: cannot take a patch of {list(plan.patch_size)} voxels "
            f"({' '.join(str(error).split())}); change patch_size or strides of the plan"
        ) from None
    return Cost(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)
