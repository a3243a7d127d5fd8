"""Exponential moving average of the weights, which segments better than the last weights do."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage(AveragedModel):
    """A copy of a network with averaged weights: w <- d w + (1 - d) w_new after each step.

    d grows with the number of steps n, min(decay, (1 + n) / (10 + n)), so that the start is soon
    forgotten. The average and n are part of the state dict, so a training that goes on from a
    checkpoint keeps them.

    Args:
        network: the network; left as it is.
        decay: the largest d, in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        @torch.no_grad()
        def follow(average: list[Tensor], newest: list[Tensor], num_averaged: Tensor) -> None:
            num_steps = int(num_averaged)
            share = 1 - min(decay, (1 + num_steps) / (10 + num_steps))
            torch._foreach_lerp_(average, newest, share)

        super().__init__(network, multi_avg_fn=follow)
        self.requires_grad_(False)
