"""The trainings of a stage: in this process, or as trials of one NNI experiment.

Both ways leave the same files in the same folders, so either goes on where the other stopped.
"""

from __future__ import annotations

import logging
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from search_space.errors import UserError
from search_space.reading import read_json

from ..config.training import TrainConfig
from ..nni_experiments.launch import launch, stop
from ..nni_experiments.progress import has_ended
from ..nni_experiments.records import ExperimentRecord, find_experiment, known_experiments
from ..nni_guards import next_parameters, only_reporting
from ..nni_guards.door import page_address
from ..recipe.progress import telling
from ..runs.files import write_json, write_text
from ..runs.names import NNI_FOLDER, PART_ENDING, RESULT_NAME
from ..training.run import TrainingDiverged, run_training
from .progress import OverallProgress, share_of

logger = logging.getLogger(__name__)

TRAINING = "training"
"""The one parameter of such a trial: a training, by its folder within that of ``uxnet auto``."""
POLL_S = 2.0
TOLD_EVERY_S = 2.0
"""How often a trial writes how far it is."""
SLOWER = 1 / 3
"""A training that diverges starts again once, with this share of its learning rate."""


@dataclass(frozen=True)
class Due:
    """One training.

    Attributes:
        config: of the training.
        folder: for its results.
    """

    config: TrainConfig
    folder: Path

    @property
    def is_done(self) -> bool:
        """Whether it has its result."""
        return (self.folder / RESULT_NAME).exists()

    @property
    def score(self) -> float:
        """Its mean Dice."""
        return float(read_json(self.folder / RESULT_NAME)["default"])

    def share(self, parts: Mapping[str, float]) -> float:
        """How much of it is done, 0 to 1, as its trial says."""
        if self.is_done:
            return 1.0
        try:
            told = read_json(_beside(self.folder, PART_ENDING))
        except FileNotFoundError:
            return 0.0
        return share_of(parts, told["part"], told["share"]) if told["part"] in parts else 0.0


def run_trainings(
    due: Sequence[Due],
    folder: Path,
    progress: OverallProgress,
    parts: Mapping[str, float],
    *,
    through_nni: str | None = None,
    keep_page: bool = False,
) -> list[float]:
    """Runs or continues trainings; the mean Dice of each.

    Args:
        due: the trainings, in folders below ``folder``.
        folder: the output folder of ``uxnet auto``.
        progress: is told how far they are.
        parts: predicted times of the parts of each, in any unit.
        through_nni: name of the NNI experiment of which they are trials, if more than one is left;
            None: all in this process.
        keep_page: leave NNI's page on at the end.

    Raises:
        UserError: if the data are at fault, or NNI fails.
    """
    for each in due:
        path = _beside(each.folder, ".run.yml")
        if not path.exists():  # else it may have a lower learning rate by now
            write_text(path, each.config.to_yaml())
    left = [each for each in due if not each.is_done]
    if through_nni is not None and len(left) > 1:
        _run_as_trials(left, due, folder, progress, parts, name=through_nni, keep_page=keep_page)
    for number, each in enumerate(due):
        if each.is_done:
            continue
        logger.info("training %d of %d: %s", number + 1, len(due), each.folder.relative_to(folder))
        with progress.run(parts, number / len(due), (number + 1) / len(due)):
            _run_here(each, folder)
    return [each.score for each in due]


def _run_here(due: Due, folder: Path) -> None:
    path = _beside(due.folder, ".run.yml")
    try:
        run_training(path, output=due.folder)
    except TrainingDiverged:
        rate = SLOWER * due.config.train.learning_rate
        if TrainConfig.load(path).train.learning_rate == rate:  # it has been tried
            raise
        logger.warning(
            "%s has diverged; it starts again, with a learning rate of %.2g",
            due.folder.relative_to(folder),
            rate,
        )
        shutil.rmtree(due.folder)
        write_text(path, due.config.override({"train.learning_rate": rate}, source="auto").to_yaml())
        run_training(path, output=due.folder)


def _run_as_trials(
    left: Sequence[Due],
    due: Sequence[Due],
    folder: Path,
    progress: OverallProgress,
    parts: Mapping[str, float],
    *,
    name: str,
    keep_page: bool,
) -> None:
    """Runs an experiment to its end; trainings that failed in it are left as they are."""
    home = folder / NNI_FOLDER
    home.mkdir(exist_ok=True)
    path = home / f"{name}.yml"
    write_text(path, yaml.safe_dump(_experiment(left, folder, name), sort_keys=False))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the trials need it
    is_kept = False
    try:
        launched = launch(path, experiment_dir=home)
        end_experiments(folder, but=launched.experiment_id)  # of a start that was killed while NNI began
        logger.info("%d trainings are trials of NNI's experiment %s", len(left), launched.experiment_id)
        progress.show(f"NNI's page of these trainings: {launched.url}")
        while True:
            record = find_experiment(launched.experiment_id)
            trials = record.trials()
            progress.advance(sum(each.share(parts) for each in due) / len(due))
            if has_ended(record, trials, "the same command goes on"):
                break
            time.sleep(POLL_S)
        is_kept = keep_page
    finally:
        if not is_kept:
            end_experiments(folder)
    for each in left:
        if not each.is_done:
            logger.warning("%s: its trial failed; going on with it here", each.folder.relative_to(folder))


def _experiment(left: Sequence[Due], folder: Path, name: str) -> dict[str, Any]:
    """NNI's configuration: one trial after the other, each with the whole machine, as timed."""
    program = [sys.executable, "-m", "uxnet_eval.cli", "auto-trial", str(folder.resolve())]
    names = [each.folder.relative_to(folder).as_posix() for each in left]
    return {
        "experimentName": f"uxnet-auto-{name}",
        "trialCommand": shlex.join(program),
        "trialCodeDirectory": ".",
        "trialConcurrency": 1,
        "maxTrialNumber": len(names),
        "searchSpace": {TRAINING: {"_type": "choice", "_value": names}},
        "tuner": {"name": "GridSearch"},
        "trainingService": {"platform": "local"},
    }


def run_trial(folder: Path) -> None:
    """The training that NNI has given this process, in the folder of ``uxnet auto``.

    Raises:
        UserError: if this is no trial of NNI, or as :func:`~uxnet_eval.training.run.run_training`
            does.
    """
    name = next_parameters().get(TRAINING)
    if name is None:
        raise UserError("auto-trial: only uxnet auto --nni starts this")
    output = folder / str(name)
    told_at = float("-inf")

    def tell(part: str, share: float) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > TOLD_EVERY_S:
            write_json(_beside(output, PART_ENDING), {"part": part, "share": share})
            told_at = time.monotonic()

    with only_reporting(), telling(tell):
        run_training(_beside(output, ".run.yml"), output=output)


def end_experiments(folder: Path, *, but: str | None = None) -> None:
    """Ends the NNI experiments of an output folder that still run, except ``but``.

    Those of a process that was killed go on.
    """
    for record in _running(folder, but):
        logger.info("ending NNI's experiment %s, which still runs", record.id)
        stop(record.id)


def page_of(folder: Path) -> tuple[str, str] | None:
    """Id and address of the NNI experiment of an output folder that still has its page, if any."""
    for record in _running(folder):
        return record.id, page_address(record.port, record.folder)
    return None


def _running(folder: Path, but: str | None = None) -> list[ExperimentRecord]:
    home = (folder / NNI_FOLDER).resolve()
    if not home.is_dir():
        return []
    known = [
        name
        for name, entry in known_experiments().items()
        if name != but and Path(entry.get("logDir", "")).resolve() == home and (home / name).is_dir()
    ]
    return [record for record in map(find_experiment, known) if record.pid is not None]


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(folder.name + ending)
