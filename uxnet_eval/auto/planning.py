"""From a data set, a machine and some hours to a schedule: width, patch and batch by timing."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import torch

from search_space.activations import genotype_activations
from search_space.errors import UserError
from search_space.operations import legal_operations
from strategies.single_path.limits import Limits

from ..config.commented_yaml import commented_yaml
from ..config.plan import Plan
from ..config.search import FROM_SCRATCH, BudgetSettings, RunConfig, SearchSettings, SpaceSettings
from ..dataset.msd import Dataset
from ..planning.fingerprint import Fingerprint, measure
from ..planning.mirroring import mirroring_reason
from ..planning.rules import FIXED_BYTES, MAX_PATCH_VOXELS, free_memory_gib, make_plan, supernet_bytes
from ..search.single_path_module import anchor_of
from .fitting import TooFewHours, fit
from .fitting_search import measures_many
from .needs import Needs
from .schedule import BOTH, Schedule, Steps
from .seen_cases import seen_without
from .timing import Timing, scaled, time_steps

logger = logging.getLogger(__name__)

MAX_HOURS = 10_000
WIDTHS = (8, 12, 16, 24, 32)
"""Base channels of the U-Net that sets the budget."""
WIDTH_STEPS = 3000
"""A wider network is taken only if a single final training still has so many steps. Its search must
also be one that measures many (:func:`.measures_many`): a wide search that finds nothing is no
better than a U-Net."""
PATCH_STEPS = 8000
"""The voxels are made coarser, then the patch smaller, until the narrowest network has so many."""
COARSER = 5 / 3
"""The finest spacing is multiplied by no more than this."""
MIN_PATCH_VOXELS = {2: 128**2, 3: 48**3}
"""The patch is made no smaller than that."""
CPU_BATCH_VOXELS, GPU_BATCH_VOXELS = 2**18, 2**22
"""Most voxels of a batch, unless two patches have more."""
MAX_BATCH_SIZE = 16
OPERATIONS = ("conv3", "conv3x3x1", "pseudo3d", "2xconv3", "conv3_rate2")
"""Candidates of a node; in 2-D those that there are, as in the shipped contests."""
GROWTH = 0.8
"""Time grows with the multiply-adds to this power: wide layers use a machine better. Only a first
guess, which a timing replaces."""


def plan_auto(
    dataset: Dataset,
    hours: float,
    *,
    with_unet: bool = True,
    left_out_fold: int = 0,
    memory_gib: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    spent_s: float | None = None,
    through_nni: bool = False,
) -> Schedule:
    """The schedule for a data set on this machine; writes nothing.

    Reads every case outside the left-out fold once, then times real steps. The patch is that of
    :func:`make_plan`, smaller if the hours allow few steps; the width is the largest of
    :data:`WIDTHS` that fits the memory and leaves enough steps.

    Args:
        dataset: the data set.
        hours: for all stages.
        with_unet: train the U-Net beside the found network.
        left_out_fold: the fold that scores the result.
        memory_gib: what may be used; None: see :func:`make_plan`.
        progress: called with the cases read and their number.
        spent_s: seconds that the check took; None: it is still to come, and reads the cases once
            more.
        through_nni: several trainings will be trials of NNI, which takes some time to start them.

    Raises:
        UserError: if there are too few cases or hours, no such fold, or a file is at fault.
    """
    started = time.monotonic()
    seen = seen_without(dataset, left_out_fold)
    if memory_gib is None:
        memory_gib = free_memory_gib()
    fingerprint = measure(seen, progress)
    read_s = time.monotonic() - started
    check_s = read_s if spent_s is None else spent_s

    def needs(config: RunConfig, timing: Timing) -> Needs:
        so_far = check_s + time.monotonic() - started
        found = Needs(
            config,
            timing,
            len(dataset.cases),
            so_far,
            with_unet=with_unet,
            through_nni=through_nni,
            outer_fold=left_out_fold,
        )
        return found.of_folds(dataset)

    def fitted(config: RunConfig, timing: Timing) -> Schedule | None:
        """The schedule; None: the hours are too few."""
        try:
            return fit(needs(config, timing), hours)
        except TooFewHours:
            return None

    def is_enough(schedule: Schedule | None) -> bool:
        """Whether a network of this width has the steps, and its search measures many."""
        if schedule is None or not measures_many(schedule.search):
            return False
        return _single_steps(schedule) >= WIDTH_STEPS

    config = _config(dataset, _plan(fingerprint, memory_gib, MAX_PATCH_VOXELS), WIDTHS[0])
    timing = _timed(config, dataset)
    narrowest = fitted(config, timing)
    wanted = PATCH_STEPS / max(1, _single_steps(narrowest) if narrowest else 0)
    voxels = math.prod(config.plan.patch_size)
    least = MIN_PATCH_VOXELS[dataset.spatial_dims]
    if wanted > 1 and voxels > least:
        most = max(least, round(voxels / min(8.0, wanted)))
        plan = _plan(fingerprint, memory_gib, most, _coarser(config.plan, wanted))
        plan = plan.model_copy(update={"batch_size": config.plan.batch_size})
        if math.prod(plan.patch_size) < voxels:
            config = _config(dataset, plan, WIDTHS[0])
            timing = _timed(config, dataset)
    at = 0
    while at + 1 < len(WIDTHS):
        wider = _config(dataset, config.plan, WIDTHS[at + 1])
        if _needed_gib(wider, dataset) > memory_gib:
            break
        ratio = (wider.budget.multiply_adds or 1) / (config.budget.multiply_adds or 1)
        if not is_enough(fitted(wider, scaled(timing, ratio**GROWTH))):
            break
        found = _timed(wider, dataset)
        if not is_enough(fitted(wider, found)):
            break
        at, config, timing = at + 1, wider, found
    schedule = fit(needs(config, timing), hours)
    own = {"check": check_s, "plan": time.monotonic() - started}
    minutes = {name: round(seconds / 60, 2) for name, seconds in own.items()}
    reasons = {"plan.mirror_axes": mirroring_reason(fingerprint)}
    return schedule.model_copy(update={"minutes": {**minutes, **schedule.minutes}, "reasons": reasons})


def _single_steps(schedule: Schedule) -> int:
    """Steps of the final training, if there was one instead of one for each fold."""
    return schedule.final.total * len(schedule.members)


def check_hours(hours: float | None) -> None:
    """Raises :class:`UserError` unless the hours are a length of time."""
    if hours is not None and not 0 < hours <= MAX_HOURS:
        raise UserError(f"--hours {hours:g}: expected a time above 0 and up to {MAX_HOURS}, such as 0.5 or 3")


def _coarser(plan: Plan, wanted: float) -> float:
    """The factor on the finest spacing for ``wanted`` times fewer voxels; at most ``COARSER``."""
    spacing_mm = plan.spacing_mm
    num_fine = sum(spacing < COARSER * min(spacing_mm) for spacing in spacing_mm)
    return min(COARSER, wanted ** (1 / num_fine))


def _plan(fingerprint: Fingerprint, memory_gib: float, max_voxels: int, coarser: float = 1.0) -> Plan:
    most = GPU_BATCH_VOXELS if torch.cuda.is_available() else CPU_BATCH_VOXELS
    plan = make_plan(
        fingerprint,
        memory_gib,
        max_patch_voxels=max_voxels,
        max_batch_size=MAX_BATCH_SIZE,
        coarser=coarser,
    )
    batch = max(2, min(plan.batch_size, most // math.prod(plan.patch_size)))
    return plan.model_copy(update={"batch_size": batch})


def _needed_gib(config: RunConfig, dataset: Dataset) -> float:
    """Memory of a step, by the rule of :func:`make_plan`: an upper bound for this search."""
    plan, width = config.plan, config.space.base_channels
    sample_bytes = supernet_bytes(
        plan.patch_size, plan.strides, width, dataset.num_channels, dataset.num_classes
    )
    return (FIXED_BYTES + plan.batch_size * sample_bytes) / 2**30


def _config(dataset: Dataset, plan: Plan, base_channels: int) -> RunConfig:
    """The search in the extended space, with the budget of the U-Net of these base channels.

    It limits activations too, so that a step of a found network takes about as long as the U-Net's.
    """
    legal = legal_operations("normal", plan.spatial_dims)
    config = RunConfig(
        dataset=str(dataset.folder.resolve()),
        plan=plan,
        space=SpaceSettings(
            base_channels=base_channels,
            width_choices=(0.5, 0.75, 1.0, 1.5),
            anchored_edges=True,
            edge_scale=True,
            pass_through=True,
            normal_candidates=tuple(name for name in OPERATIONS if name in legal),
        ),
        search=SearchSettings(strategy="single-path"),
    )
    space = config.space_config(dataset.num_channels, dataset.num_classes)
    unet = anchor_of(space)
    cost = Limits(space, plan.patch_size).cost(unet)
    budget = BudgetSettings(
        multiply_adds=cost.multiply_adds,
        max_parameters=cost.parameters,
        max_activations=genotype_activations(unet, space, plan.patch_size),
    )
    return config.model_copy(update={"budget": budget})


def _timed(config: RunConfig, dataset: Dataset) -> Timing:
    timing = time_steps(config, dataset)
    logger.info(
        "%d base channels, batches of %d patches of %s voxels: %.3g s for a step of the search, %.3g s for one of a "
        "training, %.3g s to segment a case",
        config.space.base_channels,
        config.plan.batch_size,
        "x".join(map(str, config.plan.patch_size)),
        timing.search_step_s,
        timing.searched_step_s,
        timing.validated_case_s,
    )
    return timing


def schedule_yaml(schedule: Schedule, hours: float) -> str:
    """The search's configuration as YAML, with the predictions as comments before it."""
    lines = [f"# {line}" for line in describe(schedule, hours)]
    return "\n".join([*lines, "", commented_yaml(schedule.search, schedule.reasons)])


def describe(schedule: Schedule, hours: float) -> list[str]:
    """The schedule in words: a line for each stage with its predicted minutes and memory."""
    choice, search = schedule.search.choice, schedule.search.search
    folds = ", ".join(str(fold) for fold in schedule.folds)
    tuned = f"trained for {choice.finetune_steps} steps and " if choice.finetune_steps else ""
    shared = f"{search.epochs * search.steps_per_epoch} steps of shared weights, then "
    if search.strategy in FROM_SCRATCH:
        shared = ""
    each = f"folds {folds}" if folds else "one training on all but the left-out fold"
    chosen = "who segments new scans, one network or both; " if BOTH in schedule.ensembles else ""
    what = {
        "check": "every case, for faults",
        "plan": "spacing, patch, width and steps, from the data and from steps timed here",
        "search": f"{shared}{choice.num_measured} architectures, {tuned}scored on {search.validation_cases} cases each",
        "choose": _choice_in_words(schedule),
        "train": f"{' and '.join(schedule.networks)}, {each}; {_length(schedule.final)} each",
        "evaluate": f"{chosen}scores of fold {schedule.outer_fold}, which no stage before saw",
        "report": "table, picture and page",
    }
    lines = [f"A schedule for {hours:g} hours on this machine. Predicted:"]
    for name, text in what.items():
        memory = schedule.memory_gib.get(name)
        gib = f", {memory:.1f} GiB" if memory is not None else ""
        lines.append(f"{name + ':':<10}{schedule.minutes[name]:6.1f} min{gib}: {text}")
    return lines


def _choice_in_words(schedule: Schedule) -> str:
    if schedule.choice is None:
        unproven = ", which is not compared with the U-Net; the U-Net segments new scans"
        is_unproven = schedule.with_unet and not schedule.compared_on
        return "the best of the search" + (unproven if is_unproven else "")
    number = schedule.proposals
    what = f"{number} proposal{'s' if number > 1 else ''}{' and the U-Net' if schedule.with_unet else ''}"
    return f"{what}; {_length(schedule.choice)} each, scored on fold {schedule.inner_fold}"


def _length(steps: Steps) -> str:
    return f"{steps.epochs} epochs of {steps.steps_per_epoch} steps"
