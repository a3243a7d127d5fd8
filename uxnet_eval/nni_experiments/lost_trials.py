"""Trials whose machine was lost: NNI counts them as done, and they are to run again."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence

from search_space.errors import UserError

from ..runs.trial_record import TrialRecord
from .records import DATABASE, ExperimentRecord

LOST = "SYS_CANCELED"
"""The status that ``remote.js`` gives; NNI itself gives it to no trial of its own machine."""


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
    events = [
        (int(1000 * time.time()), trial.id, "WAITING", None, None, None, None, trial.output.parents[1].name)
        for trial in lost
    ]
    database = record.folder.joinpath(*DATABASE)
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection, connection:
            connection.executemany("insert into TrialJobEvent values (?, ?, ?, ?, ?, ?, ?, ?)", events)
    except sqlite3.Error as error:
        raise UserError(f"{database}: NNI's database cannot be written ({error})") from None
    return len(lost)
