"""Progress of a run: a bar with the time left on a terminal, or a line per epoch in a log.

A run that is a part of a longer one tells that one instead, see :func:`telling`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger(__name__)

Listener = Callable[[str, float], None]
"""Is told a part of a run (``steps``, ``measured``, ``scored``) and the share of it that is done,
0 to 1."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def telling(listener: Listener) -> Iterator[None]:
    """Within it, runs show no progress of their own but tell ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(part: str, share: float) -> None:
    """Tells the longer run, if there is one, how far a part of this run is."""
    listener = _listener.get()
    if listener is not None:
        listener(part, min(1.0, share))


class SearchProgress(pl.Callback):
    """Shows how far a run is and how long it will take.

    Args:
        steps_per_epoch: training steps of an epoch.
        loss: the logged metric to show as the loss.
    """

    def __init__(self, steps_per_epoch: int, loss: str = "loss/weights") -> None:
        self.steps_per_epoch, self.loss = steps_per_epoch, loss
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._first_epoch = 0
        self._started = 0.0
        self._is_part = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first_epoch, self._started = trainer.current_epoch, time.monotonic()
        self._is_part = _listener.get() is not None
        if self._console.is_terminal and not self._is_part:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps, loss {task.fields[loss]}, Dice {task.fields[dice]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
                console=self._console,
                speed_estimate_period=300,
            )
            self._task = self._bar.add_task(
                "search",
                total=trainer.max_epochs * self.steps_per_epoch,
                completed=trainer.current_epoch * self.steps_per_epoch,
                epoch=trainer.current_epoch + 1,
                loss="-",
                dice="-",
            )
            self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = trainer.current_epoch * self.steps_per_epoch + batch_idx + 1
        tell("steps", done / (trainer.max_epochs * self.steps_per_epoch))
        if self._bar is not None:
            metrics = trainer.callback_metrics
            self._bar.update(
                self._task,
                advance=1,
                epoch=trainer.current_epoch + 1,
                loss=f"{metrics[self.loss]:.3f}" if self.loss in metrics else "-",
                dice=f"{metrics['val_dice']:.3f}" if "val_dice" in metrics else "-",
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._bar is None and not self._is_part:
            done = trainer.current_epoch + 1 - self._first_epoch
            spent_s = time.monotonic() - self._started
            left_s = spent_s / done * (trainer.max_epochs - trainer.current_epoch - 1)
            logger.info(
                "epoch %d of %d done after %s, about %s left",
                trainer.current_epoch + 1,
                trainer.max_epochs,
                timedelta(seconds=round(spent_s)),
                timedelta(seconds=round(left_s)),
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
