"""Curves for experiment trackers (Weights & Biases, MLflow), through Lightning's loggers.

They get the numbers that TensorBoard gets. A tracker that stops answering stops no run.
"""

from __future__ import annotations

import json
import logging
import os
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from torch.utils.tensorboard import SummaryWriter

from search_space.errors import UserError
from search_space.reading import read_json

from ..config.tracking import TrackingSettings
from ..extras import extra
from ..runs.files import write_json
from ..runs.names import RESULT_NAME, TRACKING_NAME
from ..runs.processes import is_helper

logger = logging.getLogger(__name__)

HTTP_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Unless they are set: MLflow would otherwise try for minutes before it gives up."""


class Tracker:
    """The trackers of one run; without any, it does nothing.

    Args:
        loggers: Lightning's, by the name of the setting.
    """

    def __init__(self, loggers: Mapping[str, Logger] | None = None) -> None:
        self._loggers = dict(loggers or {})
        self._waiting: dict[int, dict[str, float]] = {}

    def note(self, name: str, value: float, step: int) -> None:
        """Keeps a number for the next :meth:`send`."""
        if self._loggers:
            self._waiting.setdefault(step, {})[name] = value

    def note_final(self, result: Mapping[str, Any], step: int) -> None:
        """Keeps the numbers of the final result, their names under ``final/``."""
        for name, value in result.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self.note(f"final/{name}", value, step)

    def send(self) -> None:
        """Sends what was noted, in one request for each step."""
        waiting, self._waiting = self._waiting, {}
        for step, values in sorted(waiting.items()):
            self._each("log_metrics", values, step)

    def describe(self, settings: Mapping[str, Any]) -> None:
        """Sends the configuration."""
        self._each("log_hyperparams", dict(settings))

    def close(self, *, is_done: bool) -> None:
        """Sends what waits, and ends the runs: as finished, or as failed if it can be continued."""
        self.send()
        for name, each in list(self._loggers.items()):
            self._each("finalize", "success" if is_done else "failed")
            if name == "wandb":
                each.experiment.finish(exit_code=0 if is_done else 1)
        self._loggers.clear()

    def _each(self, method: str, *arguments: Any) -> None:
        for name, each in list(self._loggers.items()):
            try:
                getattr(each, method)(*arguments)
            except Exception as error:  # of another program, perhaps far away: the run is worth more
                logger.warning("%s does not answer (%s); the run goes on without it", name, _line(error))
                del self._loggers[name]


_current: ContextVar[Tracker | None] = ContextVar("tracker", default=None)
"""The tracker of the run that is going on, set by :func:`tracked`."""


class TrackedWriter(SummaryWriter):
    """TensorBoard's writer that hands every number on to the tracker of the run, if there is one.

    It does so at each :meth:`flush`.

    Args:
        folder: of the events.
        purge_step: events from this step on, of a run that was stopped, are dropped; None: none.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        super().__init__(str(folder), purge_step=purge_step)
        self._tracker = _current.get() or Tracker()

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int, **others: Any) -> None:  # type: ignore[override]
        super().add_scalar(tag, scalar_value, global_step, **others)  # type: ignore[no-untyped-call]
        self._tracker.note(tag, float(scalar_value), global_step)

    def flush(self) -> None:
        super().flush()  # type: ignore[no-untyped-call]
        self._tracker.send()

    def close(self) -> None:
        self._tracker.send()
        super().close()  # type: ignore[no-untyped-call]


@contextmanager
def tracked(
    settings: TrackingSettings, folder: Path, experiment: str, values: Mapping[str, Any], last_step: int
) -> Iterator[Tracker]:
    """The tracker of a run within the context.

    The run counts as finished at the end, and as failed if an error or Ctrl-C leaves the context.
    A run that is continued goes on in the same run of the trackers, whose ids are kept in
    ``tracking.json``.

    Args:
        settings: which trackers.
        folder: the output folder; its name is the run's.
        experiment: MLflow's experiment, which holds the runs of a data set.
        values: the configuration.
        last_step: at which the numbers of ``result.json``, if there is one at the end, are sent.

    Raises:
        UserError: a package is missing, or a tracker cannot be reached.
    """
    # Lightning starts a process for each further GPU; the first one speaks for all.
    tracker = Tracker({} if is_helper() else _loggers(settings, folder, experiment))
    tracker.describe(values)
    before, is_done = _current.set(tracker), False
    try:
        yield tracker
        if (folder / RESULT_NAME).exists():
            tracker.note_final(read_json(folder / RESULT_NAME), last_step)
        is_done = True
    finally:
        _current.reset(before)
        tracker.close(is_done=is_done)


def check_tracking(settings: TrackingSettings) -> None:
    """Raises :class:`UserError` if the package of a tracker is missing."""
    for name in ("wandb", "mlflow"):
        if getattr(settings, name) is not None:
            extra(name, name, f"tracking: {name}")


def _loggers(settings: TrackingSettings, folder: Path, experiment: str) -> dict[str, Logger]:
    check_tracking(settings)
    path = folder / TRACKING_NAME
    ids: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    loggers: dict[str, Logger] = {}
    name = folder.resolve().name
    if settings.mlflow is not None:
        with _reachable(f"mlflow {settings.mlflow}"):
            loggers["mlflow"] = _mlflow(settings.mlflow, experiment, name, ids.get("mlflow"))
    if settings.wandb is not None:
        with _reachable(f"wandb {settings.wandb}"):
            loggers["wandb"] = _wandb(settings.wandb, folder, name, ids.get("wandb"))
    found = {kind: str(each.version) for kind, each in loggers.items()}
    if found and found != ids:
        write_json(path, found)
    return loggers


def _mlflow(uri: str, experiment: str, name: str, run_id: str | None) -> Logger:
    from pytorch_lightning.loggers import MLFlowLogger

    for limit, value in HTTP_LIMITS.items():
        os.environ.setdefault(limit, value)
    each = MLFlowLogger(experiment_name=experiment, run_name=name, tracking_uri=uri, run_id=run_id)
    client = each.experiment  # finds the run, or starts one
    if run_id is not None:
        client.update_run(run_id, status="RUNNING")
    return each


def _wandb(project: str, folder: Path, name: str, run_id: str | None) -> Logger:
    from pytorch_lightning.loggers import WandbLogger

    each = WandbLogger(project=project, name=name, save_dir=folder, id=run_id)
    each.experiment  # noqa: B018  (it starts the run)
    return each


@contextmanager
def _reachable(where: str) -> Iterator[None]:
    """Within it, whatever a tracker raises is one line for the user."""
    try:
        yield
    except Exception as error:  # connection, permission, a run that was deleted: all of another program
        raise UserError(
            f"tracking: {where} cannot be used ({_line(error)}); start it, mend the address, or leave tracking out"
        ) from None


def _line(error: Exception) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, 200)
