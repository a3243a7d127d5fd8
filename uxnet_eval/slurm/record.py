"""An experiment's folder: what was submitted, and how far its trials are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from search_space.errors import UserError
from search_space.reading import read_json

from ..runs.files import write_json
from ..runs.names import EXPERIMENT_NAME, TRIALS_FOLDER
from ..runs.trial_folder import TrialFolder
from ..runs.trial_record import ENDED, TrialRecord
from .cluster import Job, arrays_from, has_cluster, queued
from .task import State

FORMAT, VERSION = "uxnet-slurm-experiment", 1
JOBS_FOLDER = "jobs"
"""The files of submitit and the logs of the jobs themselves."""


@dataclass(frozen=True)
class SlurmExperiment:
    """An experiment that runs as arrays of jobs.

    Attributes:
        folder: the experiment's, absolute.
        config: the nnictl configuration, as NNI understands it.
        request: what was asked of the cluster for each trial.
        parameters: of each trial, by number.
        jobs: for each array that was submitted, the job of each trial in it.
        is_cancelled: by ``uxnet cancel``.
        submitting: the trials of an array of which SLURM has not told the id yet.
        engine, error: as :class:`uxnet_eval.runs.trial_record.Experiment` says.
    """

    folder: Path
    config: Mapping[str, Any]
    request: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]
    jobs: tuple[Mapping[int, str], ...] = ()
    is_cancelled: bool = False
    submitting: tuple[int, ...] = ()
    engine: str = field(default="SLURM", init=False)
    error: str = field(default="", init=False)

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def status(self) -> str:
        """``RUNNING``, ``DONE``, or ``STOPPED`` if trials were ended before they were done."""
        statuses = {trial.status for trial in self.trials()}
        if statuses - set(ENDED):
            return "RUNNING"
        return "DONE" if statuses <= {"SUCCEEDED", "FAILED"} else "STOPPED"

    def job_ids(self) -> dict[int, str]:
        """The newest job of each trial."""
        return {number: job for array in self.jobs for number, job in array.items()}

    def output(self, number: int) -> Path:
        """The output folder of a trial."""
        return self.folder / TRIALS_FOLDER / str(number)

    def queue(self) -> dict[int, Job]:
        """The trials that SLURM has in its queue; :class:`UserError` if it does not answer."""
        ids = self.job_ids()
        found = queued(ids.values())
        return {number: found[job] for number, job in ids.items() if job in found}

    def trials(self) -> list[TrialRecord]:
        """All trials; those that neither ended by themselves nor are in the queue were ended."""
        numbers = range(len(self.parameters))
        all_ended = all(State.load(self.output(number)).status in ENDED for number in numbers)
        # The queue before the states: a trial that ends in between has then left its state.
        queue = {} if all_ended or not has_cluster() else self.queue()
        is_asked = all_ended or has_cluster()  # else the folder is looked at elsewhere
        return [self._trial(number, queue.get(number), is_asked) for number in numbers]

    def _trial(self, number: int, job: Job | None, is_asked: bool) -> TrialRecord:
        state = State.load(self.output(number))
        status, note = state.status, state.note
        if status not in ENDED and is_asked:
            if job is None:
                status = "USER_CANCELED" if self.is_cancelled else "SYS_CANCELED"
                note = "" if self.is_cancelled else self._why_ended(number)
            elif job.state == "PENDING":
                status = "WAITING"
                note = ", ".join(filter(None, [note, "" if job.reason == "None" else job.reason]))
            else:
                status, note = "RUNNING", f"on {state.node}" if state.node else ""
        started = f"started {state.attempts} times" if state.attempts > 1 else ""
        return TrialRecord(
            id=str(number),
            sequence=number,
            status=status,
            parameters=self.parameters[number],
            final=TrialFolder(self.output(number)).final(),
            output=self.output(number),
            note=", ".join(filter(None, [note, started])),
        )

    def _why_ended(self, number: int) -> str:
        if number in self.submitting:
            return "uxnet launch was cut off while it submitted this trial; uxnet launch --resume goes on"
        job = self.job_ids()[number]
        return f"SLURM ended job {job}: sacct -j {job} says why"

    def with_jobs(self, jobs: Mapping[int, str]) -> SlurmExperiment:
        """This experiment with one more array."""
        return replace(self, jobs=(*self.jobs, jobs), is_cancelled=False, submitting=())

    def with_unrecorded_jobs(self) -> SlurmExperiment:
        """This experiment with the array that was submitted when ``uxnet launch`` was cut off."""
        known = {job.partition("_")[0] for array in self.jobs for job in array.values()}
        unknown = arrays_from(self.folder / JOBS_FOLDER) - known if self.submitting else set()
        if not unknown:
            return self
        array = max(unknown, key=int)
        return self.with_jobs({number: f"{array}_{place}" for place, number in enumerate(self.submitting)})

    def save(self) -> None:
        """Writes the record into the folder."""
        write_json(
            self.folder / EXPERIMENT_NAME,
            {
                "format": FORMAT,
                "version": VERSION,
                "config": self.config,
                "request": self.request,
                "parameters": self.parameters,
                "jobs": self.jobs,
                "is_cancelled": self.is_cancelled,
                "submitting": self.submitting,
            },
        )


def is_slurm_experiment(folder: Path) -> bool:
    """Whether a folder is that of an experiment that SLURM runs."""
    return (folder / EXPERIMENT_NAME).is_file() and (folder / TRIALS_FOLDER).is_dir()


def read_slurm_experiment(folder: Path) -> SlurmExperiment:
    """The experiment in a folder.

    Raises:
        UserError: if its record is missing, damaged or of another version.
    """
    path = folder / EXPERIMENT_NAME
    try:
        values = read_json(path)
        if values["format"] != FORMAT or values["version"] != VERSION:
            raise ValueError(f"format {values['format']}, version {values['version']}")
        return SlurmExperiment(
            folder.absolute(),
            dict(values["config"]),
            dict(values["request"]),
            tuple(dict(each) for each in values["parameters"]),
            tuple({int(number): str(job) for number, job in array.items()} for array in values["jobs"]),
            bool(values["is_cancelled"]),
            tuple(int(number) for number in values.get("submitting", ())),
        )
    except FileNotFoundError:
        raise UserError(f"{folder}: holds no experiment of SLURM ({EXPERIMENT_NAME} is missing)") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: the record of the experiment is damaged or of another version ({error})"
        ) from None
