"""What the folder of ``uxnet auto`` remembers: its data, hours, schedule and stages."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from pydantic import ConfigDict, Field
from typing_extensions import Self

from search_space.errors import UserError
from search_space.reading import read_json
from search_space.strict import StrictConfig

from ..dataset.folds import NUM_FOLDS, SPLIT_SEED, folds_of
from ..dataset.msd import Dataset
from ..runs.files import write_json
from ..runs.names import (
    ARCHITECTURE_NAME,
    AUTO_LOG_NAME,
    AUTO_NAME,
    CHOICE_FOLDER,
    EVALUATION_FOLDER,
    GENOTYPE_NAME,
    LOCK_NAME,
    MODEL_NAME,
    OUTCOME_NAME,
    REPORT_NAME,
    SEARCH_CONFIG_NAME,
    SEARCH_FOLDER,
    TABLE_NAME,
    TRAINING_FOLDER,
)
from ..runs.record_head import without_head
from .schedule import SEARCHED, STAGES, Schedule

FORMAT, VERSION = "uxnet-auto", 1
LEFTOVERS = (LOCK_NAME, AUTO_LOG_NAME)
"""What a start that failed may have left."""
OUTPUTS: dict[str, tuple[str, ...]] = {
    "check": (),
    "plan": (SEARCH_CONFIG_NAME,),
    "search": (SEARCH_FOLDER,),
    "choose": (CHOICE_FOLDER, GENOTYPE_NAME),
    "train": (TRAINING_FOLDER,),
    "evaluate": (EVALUATION_FOLDER, MODEL_NAME, OUTCOME_NAME),
    "report": (ARCHITECTURE_NAME, TABLE_NAME, REPORT_NAME),
}
"""What each stage leaves in the folder."""


class StageRecord(StrictConfig):
    """One stage so far."""

    model_config = ConfigDict(frozen=False)

    done: bool = False
    """Whether it has ended."""
    spent_s: float = Field(0.0, ge=0)
    """Seconds of computation, over all processes."""


class AutoRecord(StrictConfig):
    """All that the same command needs to go on."""

    model_config = ConfigDict(frozen=False)

    dataset: str
    """Name of the data set."""
    cases: str
    """Digest of the case ids, classes and folds."""
    hours: float = Field(gt=0)
    """Hours for all stages."""
    with_unet: bool = True
    """Whether the U-Net is trained too."""
    left_out_fold: int = Field(0, ge=0)
    """The fold that scores the result."""
    schedule: Schedule | None = None
    """Made by the stage ``plan``."""
    chosen: str = SEARCHED
    """Label of who segments new scans, by the stage ``choose``, and then by ``evaluate``."""
    fitted: Schedule | None = None
    """The schedule of the final trainings, fitted to the time left when they began."""
    stages: dict[str, StageRecord] = Field(default_factory=lambda: {name: StageRecord() for name in STAGES})
    """The stages by name."""

    @property
    def is_done(self) -> bool:
        """Whether all stages have ended."""
        return all(stage.done for stage in self.stages.values())

    @property
    def spent_s(self) -> float:
        """Seconds of computation of all stages."""
        return sum(stage.spent_s for stage in self.stages.values())

    def save(self, folder: Path) -> None:
        """Writes ``auto.json``, whole or not at all."""
        write_json(folder / AUTO_NAME, {"format": FORMAT, "version": VERSION, **self.model_dump(mode="json")})

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The record of a folder; None if it has none.

        Raises:
            UserError: if it is damaged or of another version.
        """
        path = folder / AUTO_NAME
        try:
            values = read_json(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: is damaged ({error}); give another output folder") from None
        foreign = "is no record of uxnet auto; give another output folder"
        values = without_head(values, path, format_name=FORMAT, version=VERSION, foreign=foreign)
        record: Self = cls.parse(values, str(path))
        return record

    def is_planned_anew(self, begin_at: str | None) -> bool:
        """Whether a start at this stage makes a schedule: hours, U-Net and fold may change."""
        return self.schedule is None or begin_at in STAGES[:2]

    def begin_at(self, stage: str, folder: Path) -> None:
        """Forgets ``stage`` and all after it, with what they left in the folder.

        Raises:
            UserError: if a stage before it has not ended.
        """
        for name in STAGES[: STAGES.index(stage)]:
            if not self.stages[name].done:
                raise UserError(
                    f"{folder}: --from {stage}: the stage {name} before it has not ended; leave --from out to go on"
                )
        for name in STAGES[STAGES.index(stage) :]:
            self.stages[name] = StageRecord()
            if name == "plan":
                self.schedule = None
            if name == "train":
                self.fitted = None
        self.save(folder)  # first: a kill in between leaves files of a stage that is known not to have ended
        for name in STAGES[STAGES.index(stage) :]:
            for output in OUTPUTS[name]:
                remove(folder / output)


def remove(path: Path) -> None:
    """Deletes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def open_record(
    folder: Path,
    dataset: Dataset,
    hours: float | None,
    *,
    with_unet: bool,
    left_out_fold: int = 0,
    begin_at: str | None = None,
) -> AutoRecord:
    """The record of the folder, a new one if it is empty.

    Args:
        folder: the output folder, which exists.
        dataset: the data set.
        hours: for all stages; None: those of the folder, else one.
        with_unet: train the U-Net too.
        left_out_fold: the fold that scores the result.
        begin_at: the stage to begin at anew. With check or plan, or without a schedule yet, hours,
            U-Net and fold may change.

    Raises:
        UserError: if the folder holds something else: another data set's run, other hours, or
            anything that is none of ``uxnet auto``.
    """
    record = AutoRecord.load(folder)
    if record is None:
        others = sorted(path.name for path in folder.iterdir() if path.name not in LEFTOVERS)
        if others:
            raise UserError(
                f"{folder}: holds no run of uxnet auto but {len(others)} other files or folders, such as {others[0]}; "
                "give another output folder"
            )
        if begin_at not in (None, STAGES[0]):
            raise UserError(f"{folder}: --from {begin_at}: there is no run yet; leave --from out")
        record = AutoRecord(
            dataset=dataset.name,
            cases=_digest(dataset),
            hours=hours or 1.0,
            with_unet=with_unet,
            left_out_fold=left_out_fold,
        )
        record.save(folder)
        return record
    check_same(record, folder, dataset, hours, with_unet, left_out_fold, begin_at)
    if record.is_planned_anew(begin_at):
        record.hours, record.with_unet = hours or record.hours, with_unet
        record.left_out_fold = left_out_fold
        for name in STAGES[:2]:  # a check that failed does not shorten the next one's hours
            if name == "plan" or not record.stages[name].done:
                record.stages[name] = StageRecord()
    if begin_at is not None:
        record.begin_at(begin_at, folder)
    return record


def check_same(
    record: AutoRecord,
    folder: Path,
    dataset: Dataset,
    hours: float | None,
    with_unet: bool,
    left_out_fold: int,
    begin_at: str | None,
) -> None:
    """Raises :class:`UserError` if the arguments are not those of the folder's run."""
    if (record.dataset, record.cases) != (dataset.name, _digest(dataset)):
        raise UserError(
            f"{folder}: holds a run on {record.dataset}, with other cases, classes or folds than {dataset.folder} has; "
            "give another output folder"
        )
    if record.schedule is None or record.is_planned_anew(begin_at):  # the first for mypy
        return
    planned, given = Path(record.schedule.search.dataset), dataset.folder.resolve()
    if planned.resolve() != given:
        advice = f"give that one, or add --from plan to plan anew with {given}"
        if not planned.exists():
            advice = f"it is not there any more: ln -s {given} {planned}, and give that one"
        raise UserError(f"{folder}: holds a run on the data in {planned}; {advice}")
    if hours not in (None, record.hours):
        raise UserError(
            f"{folder}: holds a run that was planned for {record.hours:g} hours; leave --hours out to go on, or add "
            "--from plan to plan anew"
        )
    if with_unet != record.with_unet:
        raise UserError(
            f"{folder}: holds a run {'with' if record.with_unet else 'without'} the U-Net; give --no-unet as before, "
            "or add --from plan to plan anew"
        )
    if left_out_fold != record.left_out_fold:
        raise UserError(
            f"{folder}: holds a run that leaves out fold {record.left_out_fold}; give --left-out-fold "
            f"{record.left_out_fold} as before, or another output folder"
        )


def _digest(dataset: Dataset) -> str:
    """Changes with the cases, the classes, and the folds that files or patients give."""
    ids = sorted(case.case_id for case in dataset.cases)
    folds = folds_of(dataset, NUM_FOLDS, SPLIT_SEED)
    return hashlib.sha256(json.dumps([ids, dataset.class_names, folds]).encode()).hexdigest()[:16]
