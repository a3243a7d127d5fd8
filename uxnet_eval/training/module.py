"""The training recipe as a Lightning module.

Shapes: B batch, C channels, K classes, *P the plan's patch size, *S a whole case.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from strategies.finite import check_finite

from ..config.plan import Plan
from ..config.training import TrainSettings
from ..recipe.loss import segmentation_loss
from ..recipe.optimizer import optimizer_of
from ..recipe.precision import channels_last
from ..recipe.validation import DiceTally, foreground_dice, segment
from ..recipe.weight_average import WeightAverage


class TrainModule(pl.LightningModule):
    """Dice + cross entropy at all outputs; validation of whole cases with the averaged weights.

    Args:
        network: to train; may return several outputs in training mode, see
            :mod:`uxnet_eval.recipe.deep_supervision`.
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
        self.class_dice: dict[str, float] = {}
        """Dice by class at the newest validation; classes that occur in no case are left out."""

    @property
    def validated_network(self) -> nn.Module:
        """The network that is validated and saved: with averaged weights, if they are averaged."""
        return self.network if self.average is None else self.average.module

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = segmentation_loss(self.network(self._laid_out(batch["image"])), batch["label"])
        check_finite(loss, "the loss is", self.current_epoch)
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
        """Shortens the gradient to ``gradient_clip_norm``.

        Raises :class:`~strategies.finite.Diverged` if it is not finite.
        """
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip_norm)
        check_finite(norm, "the gradient has norm", self.current_epoch)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.average is not None:
            self.average.update_parameters(self.network)

    def on_validation_epoch_start(self) -> None:
        self._tally = DiceTally(len(self.class_names), self.device)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        image = self._laid_out(batch["image"])
        logits = segment(self.validated_network, image, self.plan, self.settings.overlap)
        prediction = logits.argmax(1, keepdim=True)
        self._tally.add(foreground_dice(prediction, batch["label"], len(self.class_names)))

    def on_validation_epoch_end(self) -> None:
        """Logs ``val_dice``: the mean over classes of their mean over the cases with that class."""
        self._tally.sums = self.trainer.strategy.reduce(self._tally.sums, reduce_op="sum")
        means = zip(self.class_names[1:], self._tally.class_means(), strict=True)
        self.class_dice = {name: mean for name, mean in means if mean is not None}
        self.log("val_dice", torch.tensor(self._tally.mean(), dtype=torch.float64))

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer, schedule = optimizer_of(self.network, self.settings)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _laid_out(self, image: Tensor) -> Tensor:
        return image.to(memory_format=channels_last(self.plan.spatial_dims)) if self.channels_last else image
