"""The training of RONASMIS: shared weights and the controller that draws networks, in turn."""

from __future__ import annotations

from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from search_space import Genotype
from strategies.finite import check_finite
from strategies.ronasmis import Controller, draw_within
from strategies.single_path.sampling import Choices

from ..recipe.loss import segmentation_loss
from ..recipe.precision import autocast
from ..recipe.validation import foreground_dice
from .single_path_module import SinglePathModule

NUM_JUDGED = 4
"""Networks that are drawn and judged on the same patches in a step of the controller."""


class RonasmisModule(SinglePathModule):
    """In each step a drawn network learns; then others are judged, and the controller learns.

    Batches are dictionaries: ``weights`` and ``architecture`` hold patches of different cases.

    Args:
        controller_learning_rate: of the controller (Adam).
        warmup_epochs: the first epochs, in which the controller does not learn.
        others: see :class:`SinglePathModule`.
    """

    def __init__(
        self, *args: Any, controller_learning_rate: float, warmup_epochs: int, **others: Any
    ) -> None:
        super().__init__(*args, **others)
        self.controller = Controller(self.sampler.choices)
        self.warmup_epochs = warmup_epochs
        self._optimizer = torch.optim.Adam(self.controller.parameters(), lr=controller_learning_rate)
        self._optimizer_state: dict[str, Any] | None = None

    def trained_parameters(self) -> list[nn.Parameter]:
        return list(self.shared.parameters())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["controller_optimizer"] = self._optimizer.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._optimizer_state = checkpoint["controller_optimizer"]

    def on_train_start(self) -> None:
        if self._optimizer_state is not None:  # only now the parameters are on their device
            self._optimizer.load_state_dict(self._optimizer_state)

    def _draw(self, step: int, number: int) -> tuple[Choices, Genotype]:
        return draw_within(
            self.controller, self.sampler, self.excess, self.seed, self.current_epoch, step, number
        )

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        patches, total = batch["weights"], torch.zeros((), device=self.device)
        for path in range(self.paths_per_step):
            _, genotype = self._draw(batch_idx, path)
            loss = segmentation_loss(self(patches["image"], genotype), patches["label"])
            check_finite(loss.detach(), "the loss is", self.current_epoch)
            total = total + loss / self.paths_per_step
        self.log("loss/weights", total.detach(), prog_bar=True)
        return total

    def on_train_batch_end(self, outputs: Any, batch: dict[str, dict[str, Tensor]], batch_idx: int) -> None:
        if self.current_epoch < self.warmup_epochs:
            return
        patches, drawn, rewards = batch["architecture"], [], []
        self.shared.eval()
        for number in range(NUM_JUDGED):
            choices, genotype = self._draw(batch_idx, self.paths_per_step + number)
            with torch.no_grad(), autocast(str(self.trainer.precision), self.device):
                prediction = self(patches["image"], genotype).argmax(1, keepdim=True)
            label = _as_one(patches["label"])
            dice = foreground_dice(_as_one(prediction), label, self.num_classes).nanmean()
            drawn.append(choices)
            rewards.append(0.0 if dice.isnan() else float(dice))
        self.shared.train()
        self._optimizer.zero_grad()
        self.controller.policy_loss(drawn, rewards).backward()
        self._optimizer.step()
        self.log("reward", sum(rewards) / len(rewards))

    def on_validation_start(self) -> None:
        """Validates the likeliest network within the limits; if there is none, the one before."""
        random = Random(f"{self.seed}/{self.current_epoch}")
        likeliest = self.sampler.led_into_limits(random, self.controller.likeliest(), self.excess)
        self.anchor = self.anchor if likeliest is None else likeliest


def _as_one(labels: Tensor) -> Tensor:
    """The patches of a batch (B, 1, *S) side by side, as one (1, 1, B * S_0, ...)."""
    return torch.cat(labels.split(1), dim=2)
