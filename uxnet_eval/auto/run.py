"""All stages of ``uxnet auto``, resumable at every point."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from ..dataset.find import find_dataset
from ..dataset.msd import read_dataset
from ..nni_guards import TrialLock
from ..runs.files import full_disk_said
from ..runs.folder import make_output_folder
from ..runs.names import AUTO_LOG_NAME
from .outcome import stage_rows
from .planning import check_hours, describe, plan_auto
from .progress import OverallProgress
from .record import AutoRecord, check_same, open_record
from .schedule import STAGES
from .seen_cases import seen_without
from .stages import RUNS, Run
from .trainings import end_experiments

logger = logging.getLogger(__name__)


def run_auto(
    data: str,
    folder: Path,
    *,
    hours: float | None = None,
    with_unet: bool = True,
    left_out_fold: int = 0,
    begin_at: str | None = None,
    through_nni: bool = False,
) -> AutoRecord:
    """Runs or continues all stages; returns what the folder remembers.

    Args:
        data: the data set's folder.
        folder: the output folder.
        hours: for all stages; None: those of the folder, else one.
        with_unet: train the U-Net beside the found network.
        left_out_fold: the fold that scores the result.
        begin_at: a stage to begin at anew; None: go on.
        through_nni: where a stage has several trainings, they are trials of an NNI experiment.

    Raises:
        UserError: if the data, the hours or the folder are at fault.
    """
    check_hours(hours)
    dataset = read_dataset(find_dataset(data))
    seen_without(dataset, left_out_fold)  # refuses too few cases
    make_output_folder(folder)
    with full_disk_said(folder), TrialLock(folder):
        before = AutoRecord.load(folder)
        if before is not None and (begin_at is not None or not before.is_done):
            end_experiments(folder)  # before another stage writes, or deletes, what they write
        record = open_record(
            folder, dataset, hours, with_unet=with_unet, left_out_fold=left_out_fold, begin_at=begin_at
        )
        with _logged(folder / AUTO_LOG_NAME), OverallProgress(record, folder) as progress:
            run = Run(folder, dataset, record, progress, through_nni)
            for name in STAGES:
                if record.stages[name].done:
                    continue
                try:
                    with progress.stage(name):
                        RUNS[name](run)
                except KeyboardInterrupt:
                    logger.warning("stopped in the stage %s; the same command goes on there", name)
                    raise
                record.stages[name].done = True
                record.save(folder)
        return record


def dry_run(
    data: str,
    folder: Path,
    *,
    hours: float | None = None,
    with_unet: bool = True,
    left_out_fold: int = 0,
    begin_at: str | None = None,
    through_nni: bool = False,
) -> list[str]:
    """The stages with predicted minutes and memory, as lines; writes nothing.

    A folder that has a schedule already shows that, with the minutes that its stages took, unless
    ``begin_at`` makes another.

    Raises:
        UserError: if the data, the hours or the folder are at fault, as in :func:`run_auto`.
    """
    check_hours(hours)
    dataset = read_dataset(find_dataset(data))
    seen_without(dataset, left_out_fold)
    record = AutoRecord.load(folder)
    if record is not None:
        check_same(record, folder, dataset, hours, with_unet, left_out_fold, begin_at)
        hours = hours or record.hours
    if record is None or record.schedule is None or record.is_planned_anew(begin_at):
        schedule = plan_auto(
            dataset,
            hours or 1.0,
            with_unet=with_unet,
            left_out_fold=left_out_fold,
            through_nni=through_nni,
        )
        return [*describe(schedule, hours or 1.0), f"all:      {sum(schedule.minutes.values()):6.1f} min"]
    lines = describe(record.schedule, record.hours)
    took = [f"{name}: {spent}" for name, _, spent in stage_rows(record)]
    return [*lines, f"minutes so far: {', '.join(took)}"]


class _LogFile(logging.FileHandler):
    """Goes on if the disk is full: what runs says so, in one line."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Keeps the messages of this project in a file too."""
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    packages = [logging.getLogger(name) for name in ("search_space", "strategies", "uxnet_eval")]
    levels = [package.level for package in packages]
    for package in packages:
        package.addHandler(handler)
        package.setLevel(logging.INFO)
    try:
        yield
    finally:
        for package, level in zip(packages, levels, strict=True):
            package.removeHandler(handler)
            package.setLevel(level)
        handler.close()
