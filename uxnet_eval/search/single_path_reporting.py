"""What a search by measurement reports: while shared weights learn, and while it measures."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ..nni_guards import report_intermediate, resume_intermediate_sequence
from ..recipe.tracking import TrackedWriter
from ..report.live import LiveReport
from ..runs.front_record import FrontRecord

logger = logging.getLogger(__name__)


class SinglePathReporter(pl.Callback):
    """Reports the Dice of one network at every validation, to NNI's page and to TensorBoard.

    Args:
        events: folder of the TensorBoard events.
        network: what the network is called.
    """

    def __init__(self, events: Path, network: str) -> None:
        self._events, self._network = events, network
        self._writer: TrackedWriter | None = None
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
        self._writer = TrackedWriter(self._events, purge_step=trainer.current_epoch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        dice = float(trainer.callback_metrics["val_dice"])
        self._num_reported += 1
        report_intermediate({"default": dice})
        assert self._writer is not None
        self._writer.add_scalar("dice/shared_weights", dice, trainer.current_epoch)
        self._writer.add_scalar(
            "loss/weights", float(trainer.callback_metrics["loss/weights"]), trainer.current_epoch
        )
        self._writer.flush()
        epoch = trainer.current_epoch + 1
        logger.info("epoch %d: Dice %.3f of %s with shared weights", epoch, dice, self._network)

    def close(self) -> None:
        """Closes the TensorBoard events; after an interruption too."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class ChoiceReporter:
    """Reports every measurement to TensorBoard and to the run's report.

    Args:
        folder: the output folder.
        events: folder of the TensorBoard events.
        record: holds the measurements; those of an earlier process are known already.
        to_nni: whether NNI gets the best Dice so far after each measurement. It does not where it
            has already got the Dice of the shared weights, which is another measure.
    """

    def __init__(self, folder: Path, events: Path, record: FrontRecord, *, to_nni: bool) -> None:
        self._record, self._to_nni = record, to_nni
        self._report = LiveReport(folder)
        num_measured = len(record.measured)
        self._writer = TrackedWriter(events, purge_step=num_measured)
        if to_nni:
            resume_intermediate_sequence(num_measured)

    def measured(self) -> None:
        """Reports the newest measurement of the record."""
        record, step = self._record, len(self._record.measured) - 1
        best = max((each.score for each in record.measured if record.keeps_latency(each)), default=0.0)
        self._writer.add_scalar("dice/measured", record.measured[-1].score, step)
        self._writer.add_scalar("dice/best_measured", best, step)
        self._writer.flush()
        if self._to_nni:
            report_intermediate({"default": best})
        self._report.update()

    def finish(self) -> None:
        """Writes the report for the last time."""
        self._report.update(last=True)

    def close(self) -> None:
        """Closes the TensorBoard events."""
        self._writer.close()
