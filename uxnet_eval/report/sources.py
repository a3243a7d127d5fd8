"""What a report is made from: finds the runs in a folder, or in an NNI experiment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_space.errors import UserError

from ..nni_experiments.records import is_experiment
from ..nni_experiments.sources import find_source
from ..runs.names import (
    CASES_NAME,
    CHECKPOINT_NAME,
    CONFIG_NAME,
    CURVES_NAME,
    FRONT_NAME,
    LOCAL_TRIALS,
    OVERLAYS_FOLDER,
    OVERLAYS_INDEX,
    SEARCH_NAME,
    SUMMARY_NAME,
)
from ..runs.overlays import read_overlays
from ..runs.trial_record import Experiment, TrialRecord
from .front_run import read_front
from .scored_cases import read_scores
from .search_run import DONE, NO_RESULT, SearchRun, read_search
from .training_run import read_training

RUN_FILES = (SEARCH_NAME, CHECKPOINT_NAME, CONFIG_NAME)


@dataclass
class Source:
    """What a report shows.

    Attributes:
        title: of the page.
        origin: the folder or the experiment.
        searches: one for each search.
        fronts: one for each search by measurement, see
            :func:`uxnet_eval.report.front_run.read_front`.
        trainings: one for each training, see :func:`uxnet_eval.report.training_run.read_training`.
        scores: tables of cases, see :func:`uxnet_eval.report.scored_cases.read_scores`.
        overlays: of a training or an evaluation, see
            :func:`uxnet_eval.runs.overlays.read_overlays`.
        configuration: the run's resolved configuration, as text.
        notes: what is missing or damaged, a line each.
    """

    title: str
    origin: str
    searches: list[SearchRun] = field(default_factory=list)
    fronts: list[dict[str, Any]] = field(default_factory=list)
    trainings: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    overlays: list[dict[str, Any]] = field(default_factory=list)
    configuration: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def all_notes(self) -> list[str]:
        """Its own and those of the searches."""
        return self.notes + [note for run in self.searches for note in run.notes]


def read_source(source: str | os.PathLike[str]) -> Source:
    """The runs that ``source`` names.

    Args:
        source: the output folder of a search, a training or an evaluation, a folder that holds
            several of them, or an NNI experiment's folder or id.

    Raises:
        UserError: if there is no such folder and NNI knows no such experiment, or it holds nothing
            to show.
    """
    try:
        found = find_source(source)
        return folder_source(found) if isinstance(found, Path) else experiment_source(found)
    except UserError as error:
        folder = Path(source)
        if not is_experiment(folder):
            raise
        return _trials_alone(folder.resolve(), error)


def experiment_source(experiment: Experiment) -> Source:
    """The trials of an experiment, running ones too."""
    trials = experiment.trials()
    name = str(
        experiment.config.get("experimentName")
        or experiment.config.get("params", {}).get("experimentName")
        or ""
    )
    found = Source(
        title=f"{name or 'Experiment'} {experiment.id}".strip(),
        origin=f"{experiment.engine} experiment {experiment.id} ({experiment.status}), {experiment.folder}",
    )
    if experiment.error:
        found.notes.append(f"experiment {experiment.id}: {experiment.error}")
    if not trials:
        found.notes.append(f"experiment {experiment.id}: no trial has begun")
    for trial in trials:
        _add_trial(found, trial)
    return found


def _trials_alone(experiment: Path, error: UserError) -> Source:
    """The output folders of an experiment whose database cannot be read.

    Raises ``error`` if they hold no run.
    """
    trials = experiment.joinpath(*LOCAL_TRIALS)
    try:
        found = folder_source(trials)
    except (UserError, OSError):
        raise error from None
    found.title, found.origin = f"Experiment {experiment.name}", str(trials)
    found.notes.insert(0, f"{error}; shown are the output folders of its trials alone")
    return found


def _add_trial(found: Source, trial: TrialRecord) -> None:
    name = trial.name
    if not trial.output.is_dir():
        found.notes.append(f"{name}: {trial.status}, its output folder {trial.output} does not exist")
        return
    if (trial.output / FRONT_NAME).exists():
        _add_front(found, trial.output, name)
        return
    if _is_training_or_scores(trial.output) and not (trial.output / SEARCH_NAME).exists():
        _add_training_and_scores(found, trial.output, name)
        return
    run = read_search(trial.output, name)
    has_ended = run.status == DONE and trial.status == "RUNNING"  # its process writes this page and will end
    run.status, run.parameters = DONE if has_ended else trial.status, trial.parameters
    run.final = {**run.final, **(trial.final or {})}
    if trial.final is None and trial.status not in ("RUNNING", "WAITING") and not run.final:
        _tell_what_ended_it(run, trial)
    found.searches.append(run)


def _tell_what_ended_it(run: SearchRun, trial: TrialRecord) -> None:
    """One note in place of those that a run in progress would have, with the trial's last words."""
    words = last_words(trial.output / "trial.stderr") or last_words(trial.output / "stderr")
    said = f" ({words})" if words else ""
    if run.record is not None:
        run.notes = [note for note in run.notes if NO_RESULT not in note]
        run.notes.append(
            f"{run.name}: {trial.status} without a final result{said}; shown is its newest validation"
        )
    elif not (trial.output / SEARCH_NAME).exists():
        run.notes = [f"{run.name}: {trial.status} before its first validation{said}; nothing can be drawn"]
    else:  # its record is damaged, and a note says so
        run.notes.append(f"{run.name}: {trial.status} without a final result{said}")


def last_words(file: Path, max_bytes: int = 4096, max_letters: int = 200) -> str:
    """The last line in a log that is not empty, cut to ``max_letters``; empty if there is none."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - max_bytes))
            lines = log.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    lines = [" ".join(line.split()) for line in lines if line.strip()]
    if not lines:
        return ""
    return lines[-1] if len(lines[-1]) <= max_letters else lines[-1][: max_letters - 1] + "…"


def folder_source(folder: Path) -> Source:
    """The run in a folder, or the runs below it.

    Raises :class:`UserError` if there is none.
    """
    found = Source(title=folder.resolve().name, origin=str(folder.resolve()))
    if _is_run(folder):
        _add_folder(found, folder, folder.resolve().name)
    else:
        for each in _runs_below(folder):
            _add_folder(found, each, str(each.relative_to(folder)))
    if not (found.searches or found.fronts or found.trainings or found.scores or found.overlays):
        raise UserError(_nothing(folder, sorted(os.listdir(folder))))
    return found


def _runs_below(folder: Path) -> list[Path]:
    """Folders of runs up to two levels down; what lies within a run is not looked into."""
    found = []
    for each in sorted(path for path in folder.iterdir() if path.is_dir()):
        if _is_run(each):
            found.append(each)
        else:
            found += sorted(path for path in each.iterdir() if path.is_dir() and _is_run(path))
    return found


def _add_folder(found: Source, folder: Path, name: str) -> None:
    is_other, has_front = _is_training_or_scores(folder), (folder / FRONT_NAME).exists()
    if has_front:
        _add_front(found, folder, name)
    if (folder / SEARCH_NAME).exists() or not (is_other or has_front):
        found.searches.append(read_search(folder, name))
    if is_other:
        _add_training_and_scores(found, folder, name)
    if (folder / CONFIG_NAME).is_file() and not found.configuration:
        found.configuration = (folder / CONFIG_NAME).read_text(errors="replace")


def _add_front(found: Source, folder: Path, name: str) -> None:
    front = read_front(folder, name, found.notes)
    if front is not None:
        found.fronts.append(front)


def _add_training_and_scores(found: Source, folder: Path, name: str) -> None:
    training = read_training(folder, name, found.notes)
    if training is not None:
        found.trainings.append(training)
    scores = read_scores(folder, found.notes)
    if scores is not None:
        found.scores.append({**scores, "run": name})
    if not (folder / SEARCH_NAME).exists():  # those of a search belong to the search
        overlays = read_overlays(folder, found.notes)
        if overlays is not None:
            found.overlays.append({**overlays, "run": name})


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in RUN_FILES) or _is_training_or_scores(folder)


def _is_training_or_scores(folder: Path) -> bool:
    names = (CURVES_NAME, CASES_NAME, SUMMARY_NAME, f"{OVERLAYS_FOLDER}/{OVERLAYS_INDEX}")
    return any((folder / name).is_file() for name in names)


def _nothing(folder: Path, names: Sequence[str]) -> str:
    expected = f"expected {SEARCH_NAME} (a search), {CURVES_NAME} (a training), {CASES_NAME} (scores) or db/nni.sqlite (an NNI experiment)"
    if not names:
        return f"{folder}: is empty; {expected}"
    return f"{folder}: holds no run ({len(names)} other files or folders, such as {names[0]}); {expected}"
