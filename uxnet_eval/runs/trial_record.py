"""What is known about the trials of an experiment, whatever has run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

ENDED = ("SUCCEEDED", "FAILED", "USER_CANCELED", "SYS_CANCELED", "EARLY_STOPPED")
"""Statuses of a trial that runs no more."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        id: within its experiment; in NNI's web UI too.
        sequence: its number, from 0; the web UI's "Trial No.".
        status: NNI's word. Under NNI a trial killed for lack of memory is USER_CANCELED; under
            SLURM it is SYS_CANCELED.
        parameters: what the tuner chose for it.
        final: its final result by key (``default`` among them); None if it has not reported one.
        output: its output folder.
        note: more about its state, for people; empty if there is nothing.
    """

    id: str
    sequence: int
    status: str
    parameters: Mapping[str, Any]
    final: Mapping[str, float] | None
    output: Path
    note: str = ""

    @property
    def name(self) -> str:
        """The number, and the id where that is another one."""
        return f"trial {self.sequence}" + ("" if self.id == str(self.sequence) else f" ({self.id})")


class Experiment(Protocol):
    """The trials of one experiment file: by NNI's manager, or as an array of SLURM jobs."""

    @property
    def engine(self) -> str:
        """``NNI`` or ``SLURM``."""

    @property
    def id(self) -> str: ...

    @property
    def folder(self) -> Path: ...

    @property
    def config(self) -> Mapping[str, Any]:
        """The experiment's file, as NNI understands it."""

    @property
    def status(self) -> str: ...

    @property
    def error(self) -> str:
        """What is wrong, in one line; empty if nothing."""

    def trials(self) -> list[TrialRecord]:
        """All trials so far, in the order of their numbers."""


def best_score(trials: Sequence[TrialRecord]) -> str:
    """The highest ``default`` of the final results, to four digits; ``-`` if there is none."""
    scores = [trial.final["default"] for trial in trials if trial.final and "default" in trial.final]
    return f"{max(scores):.4f}" if scores else "-"


def num_ended(trials: Sequence[TrialRecord]) -> int:
    """How many of the trials run no more."""
    return sum(trial.status in ENDED for trial in trials)
