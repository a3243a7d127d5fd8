"""The training recipe as a Lightning module.

Shapes: B batch, C channels, K classes, *P the plan's patch size, *S a whole case.
"""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from monai.losses import DiceCELoss
from torch import Tensor, nn

from ..config.plan import Plan
from ..config.training import TrainSettings
from ..recipe.deep_supervision import supervised_loss
from ..recipe.precision import channels_last
from ..recipe.validation import foreground_dice, segment
from .weight_average import WeightAverage

WARMUP_SHARE = 0.05
POLY_POWER = 0.9
SGD_MOMENTUM = 0.99


class Diverged(RuntimeError):
    """The loss or the gradient is infinite or no number: going on would only spoil the weights."""


class TrainModule(pl.LightningModule):
    """Dice + cross entropy at all outputs; validation of whole cases with the averaged weights.

    Args:
        network: to train; may return several outputs in training mode, see :mod:`.deep_supervision`.
        plan: gives the patch size.
        class_names: background first.
        settings: of the training.
        channels_last: lay images out channels-last.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: Plan,
        class_names: tuple[str, ...],
        settings: TrainSettings,
        *,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self.average = WeightAverage(network, settings.ema_decay) if settings.ema_decay else None
        self.plan, self.class_names, self.settings = plan, class_names, settings
        self.channels_last = channels_last
        self.loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
        self.class_dice: dict[str, float] = {}
        """Of every foreground class at the newest validation; classes that occur in no case are left out."""

    @property
    def validated_network(self) -> nn.Module:
        """The network that is validated and saved: with averaged weights, if they are averaged."""
        return self.network if self.average is None else self.average.module

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        outputs = self.network(self._laid_out(batch["image"]))
        with torch.autocast(self.device.type, enabled=False):  # sums over many voxels: not in bfloat16
            loss = supervised_loss(outputs, batch["label"], self.loss)
        if not torch.isfinite(loss):
            raise Diverged(f"the loss is {loss.item()} in epoch {self.current_epoch + 1}")
        self._losses.append(loss.detach())
        self.log("loss", loss.detach(), batch_size=len(batch["image"]))
        return loss

    @property
    def mean_loss(self) -> float:
        """Mean loss of the steps of this epoch so far."""
        return float(torch.stack(self._losses).mean())

    def on_train_epoch_start(self) -> None:
        self._losses: list[Tensor] = []

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Shortens the gradient to ``gradient_clip_norm``; raises :class:`Diverged` if it is not finite."""
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip_norm)
        if not torch.isfinite(norm):
            raise Diverged(f"the gradient has norm {norm.item()} in epoch {self.current_epoch + 1}")

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.average is not None:
            self.average.update_parameters(self.network)

    def on_validation_epoch_start(self) -> None:
        self._dice_sums = torch.zeros(2, len(self.class_names) - 1, device=self.device, dtype=torch.float64)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        image = self._laid_out(batch["image"])
        logits = segment(self.validated_network, image, self.plan, self.settings.overlap)
        dice = foreground_dice(logits.argmax(1, keepdim=True), batch["label"], len(self.class_names))
        self._dice_sums[0] += dice.nan_to_num(0)
        self._dice_sums[1] += ~dice.isnan()

    def on_validation_epoch_end(self) -> None:
        """Logs ``val_dice``: the mean over classes of the mean over the cases that a class occurs in."""
        sums, counts = self.trainer.strategy.reduce(self._dice_sums, reduce_op="sum").tolist()
        self.class_dice = {
            name: total / count
            for name, total, count in zip(self.class_names[1:], sums, counts, strict=True)
            if count
        }
        dice = sum(self.class_dice.values()) / len(self.class_dice) if self.class_dice else 0.0
        self.log("val_dice", torch.tensor(dice, dtype=torch.float64))

    def configure_optimizers(self) -> dict[str, Any]:
        settings = self.settings
        common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "adamw":
            optimizer = torch.optim.AdamW(self.network.parameters(), **common)
        else:
            optimizer = torch.optim.SGD(
                self.network.parameters(), momentum=SGD_MOMENTUM, nesterov=True, **common
            )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, settings)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _laid_out(self, image: Tensor) -> Tensor:
        return image.to(memory_format=channels_last(self.plan.spatial_dims)) if self.channels_last else image


def learning_rate_factor(step: int, settings: TrainSettings) -> float:
    """What the learning rate is multiplied by at a step, in [0, 1]: up along a line, then down to 0."""
    num_steps = settings.epochs * settings.steps_per_epoch
    num_warmup = max(1, round(WARMUP_SHARE * num_steps))
    if step < num_warmup:
        return (step + 1) / num_warmup
    progress = min(1.0, (step - num_warmup) / max(1, num_steps - num_warmup))
    if settings.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return float((1 - progress) ** POLY_POWER)
