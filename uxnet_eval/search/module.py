"""A segmentation network's training as a Lightning module, for NNI's strategies and ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from search_space import nni_first  # noqa: F401  # isort: skip
from nni.nas.evaluator.pytorch import LightningModule

from strategies.schedule import cosine

from ..config.plan import Plan
from ..recipe.loss import segmentation_loss
from ..recipe.precision import channels_last
from ..recipe.validation import DiceTally, foreground_dice, segment


class SegmentationModule(LightningModule):
    """Dice + cross entropy, AdamW with a cosine schedule, validation by sliding window.

    Batches are dictionaries with ``image`` (B, C, *S) and ``label`` (B, 1, *S) of class indices.

    Args:
        plan: gives the patch size of the validation.
        num_classes: background included.
        learning_rate, weight_decay: of AdamW.
        num_steps: of the whole run, over which the learning rate falls to 0.
        channels_last: whether images are laid out channels-last.
    """

    def __init__(
        self,
        plan: Plan,
        num_classes: int,
        *,
        learning_rate: float,
        weight_decay: float,
        num_steps: int,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.num_classes = num_classes
        self.learning_rate, self.weight_decay, self.num_steps = learning_rate, weight_decay, num_steps
        self.channels_last = channels_last
        self._tally = DiceTally(num_classes)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        if self.channels_last:
            image = image.to(memory_format=channels_last(self.plan.spatial_dims))
        return self.model(image)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return segmentation_loss(self(batch["image"]), batch["label"])

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Logs ``val_dice`` with the last case.

        It is the mean over classes of the mean over the cases with that class.
        """
        if batch_idx == 0:  # NNI's wrapper forwards no hooks around the validation
            self._tally = DiceTally(self.num_classes)
        prediction = segment(self, batch["image"], self.plan).argmax(1, keepdim=True)
        self._tally.add(foreground_dice(prediction, batch["label"], self.num_classes))
        if batch_idx + 1 == sum(self.trainer.num_val_batches):
            self._tally.sums = self.trainer.strategy.reduce(self._tally.sums, reduce_op="sum")
            dice = torch.tensor(self._tally.mean(), dtype=torch.float64)
            self.log("val_dice", dice, on_epoch=True, prog_bar=True, batch_size=1)

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """What the optimizer trains: all parameters."""
        return self.parameters()

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.AdamW(
            self.trained_parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step / self.num_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
