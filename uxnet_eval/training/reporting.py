"""Reports of a running training: to NNI, TensorBoard, its output folder and the terminal."""

from __future__ import annotations

import logging
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from ..nni_guards import report_intermediate, resume_intermediate_sequence
from ..recipe.tracking import TrackedWriter
from ..runs.files import write_json
from ..runs.names import CURVES_NAME
from .module import TrainModule

logger = logging.getLogger(__name__)


class TrainReporter(pl.Callback):
    """Reports each epoch and validation, keeps the best weights, and stops early.

    Args:
        output: the output folder.
        events: folder of the TensorBoard events.
        patience: validations without a better one after which it stops; None: never.
        save_best: called with the scores at every validation that is the best so far.
    """

    def __init__(
        self,
        output: Path,
        events: Path,
        patience: int | None,
        save_best: Callable[[dict[str, float]], None],
    ) -> None:
        self.output, self.patience, self.save_best = output, patience, save_best
        self.history: list[dict[str, Any]] = []
        """One entry per validation: ``epoch`` (from 1), ``loss``, ``val_dice``, ``class_dice``,
        ``minutes``."""
        self.stopped_early = False
        self._peak_gib = 0.0
        self._events = events
        self._writer: TrackedWriter | None = None
        self._started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": self.history,
            "stopped_early": self.stopped_early,
            "spent_s": self.spent_s,
            "peak_memory_gib": self.peak_memory_gib,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history, self.stopped_early = state_dict["history"], state_dict["stopped_early"]
        self._started = time.monotonic() - state_dict["spent_s"]
        self._peak_gib = state_dict["peak_memory_gib"]

    @property
    def spent_s(self) -> float:
        """Time of the training so far, with earlier processes up to their last checkpoints."""
        return time.monotonic() - self._started

    @property
    def peak_memory_gib(self) -> float:
        """Most memory held so far: on the GPU if there is one, else by the process."""
        return max(self._peak_gib, peak_memory_gib())

    @property
    def best(self) -> dict[str, Any] | None:
        """The entry of the best validation; of equals the first."""
        return max(self.history, key=lambda entry: entry["val_dice"], default=None)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            resume_intermediate_sequence(len(self.history))
            # Events after the checkpoint, of a run that was stopped, are dropped.
            self._writer = TrackedWriter(self._events, purge_step=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainModule)
        if trainer.is_global_zero:
            self._scalar("loss", pl_module.mean_loss, trainer.current_epoch)
            self._scalar("learning_rate", trainer.optimizers[0].param_groups[0]["lr"], trainer.current_epoch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainModule)
        dice, before = float(trainer.callback_metrics["val_dice"]), self.best
        self.history.append(
            {
                "epoch": trainer.current_epoch + 1,
                "loss": pl_module.mean_loss,
                "val_dice": dice,
                "class_dice": pl_module.class_dice,
                "minutes": self.spent_s / 60,
            }
        )
        is_best = before is None or dice > before["val_dice"]
        if trainer.is_global_zero:
            if is_best:
                self.save_best({"val_dice": dice, "epoch": trainer.current_epoch + 1})
            self._tell(dice, is_best, trainer.current_epoch)
        self._stop_early(trainer)

    def close(self) -> None:
        """Closes the TensorBoard events; after an interruption too."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _tell(self, dice: float, is_best: bool, epoch: int) -> None:
        newest = self.history[-1]
        self._scalar("dice/mean", dice, epoch)
        for name, value in newest["class_dice"].items():
            self._scalar(f"dice/{name}", value, epoch)
        assert self._writer is not None
        self._writer.flush()
        write_json(self.output / CURVES_NAME, {"history": self.history})
        report_intermediate({"default": dice, "loss": newest["loss"]})
        logger.info(
            "epoch %d: loss %.3f, Dice %.4f%s",
            epoch + 1,
            newest["loss"],
            dice,
            ", the best" if is_best else "",
        )

    def _stop_early(self, trainer: pl.Trainer) -> None:
        best = self.best
        assert best is not None
        if self.patience is not None and len(self.history) - 1 - self.history.index(best) >= self.patience:
            self.stopped_early = trainer.should_stop = True
            logger.info("no better validation %d times in a row: stopped early", self.patience)

    def _scalar(self, name: str, value: float, epoch: int) -> None:
        assert self._writer is not None
        self._writer.add_scalar(name, value, epoch)


def peak_memory_gib() -> float:
    """Most memory that this process has held, on the GPU if it uses one, else in main memory."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if platform.system() == "Darwin" else peak / 2**20  # bytes there, KiB elsewhere
