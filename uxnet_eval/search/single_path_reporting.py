"""What a search by measurement reports while its weights learn."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils.tensorboard import SummaryWriter

from ..nni_guards import report_intermediate, resume_intermediate_sequence

logger = logging.getLogger(__name__)


class SinglePathReporter(pl.Callback):
    """Reports the Dice of the U-Net's path at every validation, to NNI's page and to TensorBoard.

    Args:
        events: folder of the TensorBoard events.
    """

    def __init__(self, events: Path) -> None:
        self._events = events
        self._writer: SummaryWriter | None = None
        self._num_reported = 0
        self._started = time.monotonic()
        self._spent_s = 0.0

    @property
    def spent_minutes(self) -> float:
        """Minutes of earlier processes of this run."""
        return self._spent_s / 60

    def state_dict(self) -> dict[str, Any]:
        spent_s = self._spent_s + time.monotonic() - self._started
        return {"num_reported": self._num_reported, "spent_s": spent_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._num_reported, self._spent_s = state_dict["num_reported"], state_dict["spent_s"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        resume_intermediate_sequence(self._num_reported)
        self._writer = SummaryWriter(str(self._events), purge_step=trainer.current_epoch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        dice = float(trainer.callback_metrics["val_dice"])
        self._num_reported += 1
        report_intermediate({"default": dice})
        assert self._writer is not None
        self._writer.add_scalar("dice/unet_path", dice, trainer.current_epoch)
        self._writer.add_scalar(
            "loss/weights", float(trainer.callback_metrics["loss/weights"]), trainer.current_epoch
        )
        self._writer.flush()
        logger.info("epoch %d: Dice %.3f of the U-Net with shared weights", trainer.current_epoch + 1, dice)

    def close(self) -> None:
        """Closes the TensorBoard events; after an interruption too."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
