"""Short trainings that measure architectures, and the Dice of a network on the validation cases."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..config.search import RunConfig
from ..config.training import TrainSettings
from ..recipe.loss import segmentation_loss
from ..recipe.optimizer import optimizer_of
from ..recipe.precision import autocast, channels_last
from ..recipe.validation import DiceTally, foreground_dice, segment
from ..recipe.weight_average import WeightAverage
from .data import SearchData

SHARED_FINETUNE_RATE = 1e-3
"""Largest learning rate of a short training that goes on from shared weights."""


def fine_tuning(config: RunConfig) -> TrainSettings:
    """A training that goes on from shared weights, as theirs was."""
    choice, search = config.choice, config.search
    return TrainSettings(
        epochs=1,
        steps_per_epoch=choice.finetune_steps,
        learning_rate=choice.finetune_learning_rate or SHARED_FINETUNE_RATE,
        weight_decay=search.weight_decay,
        gradient_clip_norm=search.gradient_clip_norm or float("inf"),
        ema_decay=0,
    )


def from_random_weights(num_steps: int, learning_rate: float | None) -> TrainSettings:
    """A training as that of ``uxnet train``, whose outcome it should foretell, but short.

    Args:
        num_steps: its length.
        learning_rate: the largest; None: that of ``uxnet train``.
    """
    rate = {} if learning_rate is None else {"learning_rate": learning_rate}
    return TrainSettings(epochs=1, steps_per_epoch=num_steps, **rate)


class ShortTraining:
    """Trains networks briefly on the same patches and scores them on the validation cases.

    Args:
        config: resolved.
        data: the cases; both streams of it are left alone.
        device: where it is computed.
        precision: Lightning's name of the number format.
    """

    def __init__(self, config: RunConfig, data: SearchData, device: torch.device, precision: str) -> None:
        self._config, self._data, self._device, self._precision = config, data, device, precision

    def dice(self, network: Callable[[Tensor], Tensor]) -> float:
        """Mean Dice on the validation cases, without a training."""
        device, plan = self._device, self._config.plan
        tally = DiceTally(self._data.dataset.num_classes)
        with torch.inference_mode(), autocast(self._precision, device):
            for batch in self._data.val_dataloader():
                prediction = segment(network, batch["image"].to(device), plan).argmax(1, keepdim=True)
                tally.add(
                    foreground_dice(prediction, batch["label"].to(device), self._data.dataset.num_classes)
                )
        return tally.mean()

    def trained_dice(self, network: nn.Module, settings: TrainSettings) -> float:
        """Mean Dice on the validation cases after a training, which changes the network."""
        network = network.to(self._device)
        dims = self._config.plan.spatial_dims
        layout = channels_last(dims) if self._config.runtime.channels_last else None
        if layout is not None:
            network = network.to(memory_format=layout)
        average = WeightAverage(network, settings.ema_decay) if settings.ema_decay else None
        optimizer, schedule = optimizer_of(network, settings)
        network.train()
        for batch in self._data.patches(settings.epochs * settings.steps_per_epoch, stream=2):
            image, label = batch["image"].to(self._device), batch["label"].to(self._device)
            optimizer.zero_grad()
            with autocast(self._precision, self._device):
                outputs = network(image.to(memory_format=layout) if layout else image)
            segmentation_loss(outputs, label).backward()
            nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip_norm)
            optimizer.step()
            schedule.step()
            if average is not None:
                average.update_parameters(network)
        scored = network if average is None else average.module
        scored.eval()
        return self.dice(lambda image: scored(image.to(memory_format=layout) if layout else image))
