"""The optimizer of a training, and how its learning rate moves."""

from __future__ import annotations

import torch
from torch import nn

from strategies.schedule import cosine

from ..config.training import TrainSettings

WARMUP_SHARE = 0.05
POLY_POWER = 0.9
SGD_MOMENTUM = 0.99


def optimizer_of(
    network: nn.Module, settings: TrainSettings
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """The optimizer of a training, and the schedule that moves its rate after every step."""
    parameters, rate, decay = network.parameters(), settings.learning_rate, settings.weight_decay
    optimizer: torch.optim.Optimizer
    if settings.optimizer == "adamw":
        optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(
            parameters, lr=rate, weight_decay=decay, momentum=SGD_MOMENTUM, nesterov=True
        )
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, settings)
    )


def learning_rate_factor(step: int, settings: TrainSettings) -> float:
    """The factor of the learning rate at a step, in [0, 1]: a linear warm-up, then down to 0."""
    num_steps = settings.epochs * settings.steps_per_epoch
    num_warmup = max(1, round(WARMUP_SHARE * num_steps))
    if step < num_warmup:
        return (step + 1) / num_warmup
    progress = min(1.0, (step - num_warmup) / max(1, num_steps - num_warmup))
    if settings.schedule == "cosine":
        return cosine(progress)
    return float((1 - progress) ** POLY_POWER)
