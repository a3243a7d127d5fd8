"""The progress of an experiment on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from search_space.errors import UserError

from ..nni_guards.door import page_address
from ..runs.names import LOG_FOLDER, REPORT_NAME
from ..runs.trial_record import TrialRecord, best_score, num_ended
from .lost_trials import in_words, lost_trials
from .records import ExperimentRecord, find_experiment

REPORT_PAGE = f"/logs/{REPORT_NAME}"
"""The report of all searches, which NNI's server hands out from the experiment's log folder."""


def wait_until_done(experiment_id: str, poll_s: float = 2.0) -> ExperimentRecord:
    """Shows trials done, the best score and the time left until no trial is left to run.

    Ctrl-C ends the watching, not the experiment, and says so.

    Raises:
        UserError: if the experiment ends in an error, or its manager dies.
    """
    try:
        with ExperimentProgress(find_experiment(experiment_id)) as progress:
            while True:
                record = find_experiment(experiment_id)
                trials = record.trials()
                progress.update(trials)
                if has_ended(record, trials, f"go on with: uxnet launch --resume {experiment_id}"):
                    return record
                time.sleep(poll_s)
    except KeyboardInterrupt:
        print(
            f"\nNot watching any more; experiment {experiment_id} goes on. Stop it with: nnictl stop {experiment_id}",
            file=sys.stderr,
        )
        raise


def has_ended(record: ExperimentRecord, trials: Sequence[TrialRecord], remedy: str) -> bool:
    """Whether no trial is left to run.

    Args:
        record: of the experiment, just read.
        trials: its trials.
        remedy: what to do if its manager ended too early.

    Raises:
        UserError: if the experiment has ended in an error, or its manager does not answer.
    """
    if record.status == "ERROR":
        log = record.folder / LOG_FOLDER
        raise UserError(f"experiment {record.id} failed: {record.error or 'no reason given'}; see {log}")
    if record.status == "STOPPED":
        raise UserError(
            f"experiment {record.id} was stopped, or its manager died, before it was done; {remedy}"
        )
    if record.status != "TUNER_NO_MORE_TRIAL":
        return record.status == "DONE"
    active = [trial for trial in trials if trial.status in ("WAITING", "RUNNING", "UNKNOWN")]
    newest = max((trial.sequence for trial in trials), default=-1)
    # The tuner may have no more while the last trial that it proposed is still being made.
    return not active and newest + 1 >= record.num_proposed


class ExperimentProgress:
    """A line with the trials done, the best score so far and the time left; a context manager."""

    def __init__(self, record: ExperimentRecord, console: Console | None = None) -> None:
        self._page = partial(page_address, record.port, record.folder)
        self._report: Path | None = record.folder / LOG_FOLDER / REPORT_NAME
        self._id = record.id
        self._max_trials = record.config.get("maxTrialNumber")
        self._started = time.monotonic()
        self._told: set[str] = set()
        self._already_ended = num_ended(record.trials())
        self._progress = Progress(
            TextColumn("experiment {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("trials, {task.fields[running]} running, best {task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console or Console(stderr=True),
        )
        self._task = self._progress.add_task(record.id, total=self._max_trials, running=0, best="-", left="")

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Shows the state of these trials."""
        if self._report is not None and self._report.exists():  # written at the first validation
            self._show(f"report of its searches: {self._page(REPORT_PAGE)}")
            self._report = None
        lost = [trial for trial in lost_trials(trials) if trial.id not in self._told]
        if lost:
            self._show(in_words(lost, self._id))
            self._told |= {trial.id for trial in lost}
        count = num_ended(trials)
        self._progress.update(
            self._task,
            completed=count,
            running=sum(trial.status == "RUNNING" for trial in trials),
            best=best_score(trials),
            left=time_left(
                self._max_trials, count, count - self._already_ended, time.monotonic() - self._started
            ),
        )

    def _show(self, line: str) -> None:
        """Prints a line as it is: an address that is broken over two lines cannot be clicked."""
        self._progress.console.print(line, soft_wrap=True)

    def __enter__(self) -> ExperimentProgress:
        self._show(f"web UI of the experiment, its trials and curves: {self._page()}")
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def time_left(max_trials: int | None, num_ended: int, num_ended_now: int, elapsed_s: float) -> str:
    """The time left at the pace so far, in words; empty until a trial has ended while watched.

    Args:
        max_trials: trials of the experiment; None: no limit, no estimate.
        num_ended: trials that have ended.
        num_ended_now: those of them that ended while watched.
        elapsed_s: seconds of watching.
    """
    if max_trials is None or num_ended_now < 1 or num_ended >= max_trials:
        return ""
    minutes = (max_trials - num_ended) * elapsed_s / num_ended_now / 60
    return f"about {minutes:.0f} min left" if minutes >= 1 else "less than a minute left"
