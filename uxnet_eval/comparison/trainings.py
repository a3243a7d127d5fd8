"""Finds trainings in folders and NNI experiments. Names those that have not finished."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from search_space.errors import UserError
from search_space.reading import read_json, read_yaml

from ..evaluation.scores import read_cases
from ..nni_experiments.sources import find_source
from ..runs.folder import flat_settings
from ..runs.names import CASES_NAME, CONFIG_NAME, CURVES_NAME, FINAL_FOLDER, GENOTYPE_NAME, RESULT_NAME
from ..runs.trial_record import Experiment

RESULT_KEYS = (
    "architecture",
    "fold",
    "seed",
    "default",
    "parameters",
    "multiply_adds",
    "minutes",
    "peak_memory_gib",
)


MAX_NUMBER = 1e18
"""Beyond any time, size and cost; NaN is not below it."""


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        folder: its output folder.
        result: of ``result.json``: ``architecture``, ``fold``, ``seed``, ``default`` (mean Dice of
            the fold), ``parameters``, ``multiply_adds``, ``minutes``, ``peak_memory_gib``; perhaps
            ``label`` and ``search_minutes``.
        cases: of ``cases.csv``, a row for each case and class.
        settings: of ``run.yml``, flat: ``train.epochs`` and so on.
        genotype: the genotype as text, to tell two files of one name apart; empty for a baseline.
    """

    folder: Path
    result: Mapping[str, Any]
    cases: pd.DataFrame
    settings: Mapping[str, Any]
    genotype: str = ""

    @property
    def architecture(self) -> str:
        return str(self.result["architecture"])

    @property
    def label(self) -> str | None:
        """The name of its row, if it was set."""
        label = self.result.get("label")
        return None if label is None else str(label)

    @property
    def budget(self) -> float | None:
        """The multiply-adds that its width was set by; None: it was not set by them."""
        budget = self.settings.get("network.multiply_adds")
        return None if budget is None else float(budget)


@dataclass
class Trainings:
    """What the sources hold.

    Attributes:
        finished: in the order of the sources, of trials and of names.
        notes: a line for each training that has not finished or is damaged.
        folders: of all trainings, finished or not; notes may name them.
    """

    finished: list[Training] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)


def find_trainings(sources: Sequence[str]) -> Trainings:
    """The trainings of all sources; one that is found twice counts once.

    Args:
        sources: each an NNI experiment's id or folder, the output folder of a training, or a folder
            that holds such folders at any depth.

    Raises:
        UserError: if a source is not there, holds no training at all, or none of all is finished.
    """
    found = Trainings()
    seen: set[Path] = set()
    for source in sources:
        _add_source(found, source, seen)
    if not found.finished:
        raise UserError(
            f"{', '.join(sources)}: no training is finished" + "".join(f"; {note}" for note in found.notes)
        )
    return found


def _add_source(found: Trainings, source: str, seen: set[Path]) -> None:
    place = find_source(source)
    if not isinstance(place, Path):
        _add_experiment(found, place, seen)
        return
    inner = list(_training_folders(place))
    if not inner:
        raise UserError(
            f"{place}: holds no training ({CONFIG_NAME} with a section train, and {RESULT_NAME}); give the output "
            "folder of uxnet train, a folder of such folders, or an NNI experiment's id"
        )
    for each in inner:
        (_add_contest if _is_contest(each) else _add_folder)(found, each, str(each), seen)


def _add_experiment(found: Trainings, experiment: Experiment, seen: set[Path]) -> None:
    trials = experiment.trials()
    if not trials:
        raise UserError(f"experiment {experiment.id}: no trial has begun; wait for one to finish")
    num_searches = 0
    for trial in trials:
        name = f"{trial.name}, {trial.status}"
        if _is_contest(trial.output):
            _add_contest(found, trial.output, name, seen)
        elif _is_training(trial.output):
            _add_folder(found, trial.output, name, seen)
        elif (trial.output / CONFIG_NAME).is_file():
            num_searches += 1
        else:
            found.notes.append(f"{name}: has not begun to train; parameters {dict(trial.parameters)}")
    if num_searches == len(trials):
        raise UserError(
            f"experiment {experiment.id}: its trials are searches, not trainings; derive genotypes from it "
            "(uxnet derive), train them (uxnet train), and compare these trainings"
        )
    if num_searches:
        found.notes.append(f"experiment {experiment.id}: {num_searches} of its trials are no trainings")


def _training_folders(folder: Path) -> Iterator[Path]:
    """Folders of trainings and of contests; what a contest holds besides is not looked into."""
    for place, names, files in os.walk(folder):
        names.sort()
        if CONFIG_NAME in files and _is_training(Path(place)):
            yield Path(place)
        if CONFIG_NAME in files and _is_contest(Path(place)):
            names.clear()


def _is_contest(folder: Path) -> bool:
    """Whether its ``run.yml`` has a section ``contest``."""
    try:
        values = read_yaml(folder / CONFIG_NAME)
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and "contest" in values


def _add_contest(found: Trainings, folder: Path, name: str, seen: set[Path]) -> None:
    """Adds the training that a contest scores, but not those by which it chose."""
    if (folder / FINAL_FOLDER / CONFIG_NAME).is_file():
        _add_folder(found, folder / FINAL_FOLDER, name, seen)
    else:
        settings = flat_settings(_read_mapping(folder / CONFIG_NAME))
        found.notes.append(
            f"{name}: {settings.get('contest.contender', '?')} has not begun its final training; left out"
        )


def _is_training(folder: Path) -> bool:
    """Whether its ``run.yml`` has a section ``train``.

    A damaged file counts too: reading it later names the fault.
    """
    try:
        values = read_yaml(folder / CONFIG_NAME)
    except OSError:
        return False
    except ValueError:
        return True
    return isinstance(values, dict) and "train" in values


def _add_folder(found: Trainings, folder: Path, name: str, seen: set[Path]) -> None:
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    found.folders.append(folder)
    try:
        settings = flat_settings(_read_mapping(folder / CONFIG_NAME))
        if not (folder / RESULT_NAME).is_file():
            architecture = settings.get("network.architecture", "?")
            fold, seed = settings.get("train.fold", "?"), settings.get("train.seed", "?")
            found.notes.append(
                f"{name}: {architecture}, fold {fold}, seed {seed}: not finished ({_progress(folder, settings)}); "
                "left out"
            )
            return
        result = _read_mapping(folder / RESULT_NAME)
        missing = [key for key in RESULT_KEYS if key not in result]
        if missing:
            raise UserError(f"{folder / RESULT_NAME}: lacks {', '.join(missing)}; train it again")
        numbers = RESULT_KEYS[1:] + (("search_minutes",) if result.get("search_minutes") is not None else ())
        wrong = [key for key in numbers if not _is_number(result[key])]
        wrong += [key for key in ("parameters", "multiply_adds") if key not in wrong and result[key] <= 0]
        if wrong:
            raise UserError(f"{folder / RESULT_NAME}: {', '.join(wrong)}: expected a number; train it again")
        cases = read_cases(folder / CASES_NAME)
        found.finished.append(Training(folder, result, cases, settings, _genotype(folder)))
    except UserError as error:
        found.notes.append(f"{name}: damaged, left out: {error}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MAX_NUMBER


def _progress(folder: Path, settings: Mapping[str, Any]) -> str:
    try:
        history = read_json(folder / CURVES_NAME)["history"]
        done = int(history[-1]["epoch"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        done = 0
    return f"{done} of {settings.get('train.epochs', '?')} epochs validated"


def _genotype(folder: Path) -> str:
    path = folder / GENOTYPE_NAME
    if not path.is_file():
        return ""
    values = _read_mapping(path)
    parts = [values.get(key) for key in ("edges", "operations", "widths", "edge_scale")]
    return json.dumps(parts, sort_keys=True)


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path) if path.suffix == ".json" else read_yaml(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path}: is damaged or cut short ({error}); train it again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values, found {type(values).__name__}")
    return values
