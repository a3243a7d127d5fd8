"""Trials that are to run again: those whose machine was lost, and those that a dead manager left.

NNI counts the first as done. It runs the second again, but does not tell the tuner.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any

from search_space.errors import UserError

from ..runs.trial_record import TrialRecord
from .records import DATABASE, ExperimentRecord

LOST = "SYS_CANCELED"
"""The status that ``remote.js`` gives; NNI itself gives it to no trial of its own machine."""
ENUMERATING_TUNERS = ("GridSearch", "Batch", "BatchTuner")
"""Tuners that propose each parameter set once; NNI has two names for the last. Told what was tried,
they leave it out."""
NO_VALUE = 1
"""In place of the result of an unfinished trial, which no such tuner reads; ``Batch`` skips trials
without one."""


def lost_trials(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials whose machine was lost."""
    return [trial for trial in trials if trial.status == LOST]


def in_words(trials: Sequence[TrialRecord], experiment_id: str) -> str:
    """What became of lost trials, and what to do, in one line."""
    named = ", ".join(f"{trial.name}: {trial.note}" for trial in trials)
    return f"lost: {named}; when the machine is back, go on with: uxnet launch --resume {experiment_id}"


def let_run_again(record: ExperimentRecord) -> int:
    """Marks the lost trials of a stopped experiment as waiting, for ``nnictl resume``.

    Each goes on in its old folder on its machine. Returns how many there are.

    Raises:
        UserError: if NNI's database cannot be written.
    """
    lost = lost_trials(record.trials())
    events = [(trial.id, "WAITING", None, trial.output.parents[1].name) for trial in lost]
    _add_events(record, events)
    return len(lost)


def tell_tuner(record: ExperimentRecord) -> None:
    """Adds the unfinished trials of a stopped experiment to what ``nnictl resume`` tells its tuner.

    Otherwise a tuner that enumerates begins anew: it proposes these trials' parameters a second
    time, and with ``maxTrialNumber`` others never run.

    Raises:
        UserError: if NNI's database cannot be written.
    """
    if record.config.get("tuner", {}).get("name") not in ENUMERATING_TUNERS:
        return
    unfinished = [trial for trial in record.trials() if trial.status in ("WAITING", "RUNNING")]
    known = [{"parameter": dict(trial.parameters), "value": NO_VALUE} for trial in unfinished]
    if known:
        _add_events(record, [("", "IMPORT_DATA", json.dumps(known), None)])


def _add_events(record: ExperimentRecord, events: Iterable[tuple[str, str, str | None, str | None]]) -> None:
    """Adds events (trial, kind, data, environment) to NNI's log."""
    now_ms = int(1000 * time.time())
    rows: list[tuple[Any, ...]] = [
        (now_ms, trial, kind, data, None, None, None, environment)
        for trial, kind, data, environment in events
    ]
    database = record.folder.joinpath(*DATABASE)
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection, connection:
            connection.executemany("insert into TrialJobEvent values (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    except sqlite3.Error as error:
        raise UserError(f"{database}: NNI's database cannot be written ({error})") from None
