"""The schedule of the final trainings, fitted once more to the time that is left."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from search_space import Genotype

from ..runs.names import GENOTYPE_NAME
from ..search.single_path_module import anchor_of
from .fitting import shortened
from .needs import Needs
from .schedule import Schedule
from .timing import StepTimer, Timing

if TYPE_CHECKING:
    from .stages import Run

logger = logging.getLogger(__name__)


def refitted(run: Run) -> Schedule:
    """The schedule with final trainings that fit the time left, by timing their own networks."""
    schedule, record = run.schedule, run.record
    config = schedule.search
    timer = StepTimer(config, run.dataset)
    genotype = Genotype.load(run.folder / GENOTYPE_NAME)
    space = config.space_config(run.dataset.num_channels, run.dataset.num_classes)
    unet = anchor_of(space)
    timing = Timing(
        search_step_s=0.0,
        searched_step_s=timer.training_step_s(genotype),
        unet_step_s=timer.training_step_s(unet) if record.with_unet else 0.0,
        validated_case_s=timer.validated_case_s(genotype),
        scored_case_s=timer.scored_case_s(),
        loaded_case_s=timer.loaded_case_s,
        case_gib=timer.case_gib,
        search_gib=0.0,
        train_gib=0.0,
    )
    run.progress.keep()  # this timing counts too
    after_s = 60 * (schedule.minutes["evaluate"] + schedule.minutes["report"])
    left_s = 3600 * record.hours - record.spent_s - after_s
    needs = Needs(
        config,
        timing,
        len(run.dataset.cases),
        record.spent_s,
        with_unet=record.with_unet,
        through_nni=run.through_nni,
        outer_fold=record.left_out_fold,
    ).of_folds(run.dataset)
    fitted = shortened(schedule, needs, left_s)
    logger.info(
        "the found network takes %.3g s a step; %.1f minutes are left for training",
        timing.searched_step_s,
        left_s / 60,
    )
    if fitted.final != schedule.final:
        logger.warning(
            "the machine is slower than it was: final trainings of %d steps instead of %d",
            fitted.final.total,
            schedule.final.total,
        )
    return fitted
