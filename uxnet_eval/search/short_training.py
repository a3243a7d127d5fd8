"""Short trainings that measure architectures, and the Dice of a network on the validation cases."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from strategies.schedule import cosine

from ..config.search import RunConfig
from ..recipe.loss import segmentation_loss
from ..recipe.precision import autocast, channels_last
from ..recipe.validation import DiceTally, foreground_dice, segment
from .data import SearchData

WARMUP_SHARE = 0.1
"""The learning rate of a short training rises over this share of its steps."""


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

    def trained_dice(self, network: nn.Module, num_steps: int, learning_rate: float) -> float:
        """Mean Dice after ``num_steps`` steps of AdamW, whose rate falls along a cosine."""
        config = self._config
        network = network.to(self._device)
        layout = channels_last(config.plan.spatial_dims) if config.runtime.channels_last else None
        if layout is not None:
            network = network.to(memory_format=layout)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=learning_rate, weight_decay=config.search.weight_decay
        )
        warmup = max(1, round(WARMUP_SHARE * num_steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / warmup) * cosine(step / num_steps)
        )
        network.train()
        for batch in self._data.patches(num_steps, stream=2):
            self._step(network, optimizer, batch, layout)
            schedule.step()
        network.eval()
        return self.dice(lambda image: network(image.to(memory_format=layout) if layout else image))

    def _step(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        batch: dict[str, Tensor],
        layout: torch.memory_format | None,
    ) -> None:
        device = self._device
        image, label = batch["image"].to(device), batch["label"].to(device)
        optimizer.zero_grad()
        with autocast(self._precision, device):
            outputs = network(image.to(memory_format=layout) if layout else image)
        segmentation_loss(outputs, label).backward()
        norm = self._config.search.gradient_clip_norm
        if norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), norm)
        optimizer.step()
