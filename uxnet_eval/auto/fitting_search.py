"""The search that fits into some seconds: plain arithmetic on a timing."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.search import RunConfig
from .needs import Needs

ALONE_STEPS = (600, 450, 300)
"""Steps of a training from random weights that measures an architecture: the first with which
``ENOUGH_ALONE`` architectures are measured, or ``MIN_ALONE`` with the last. After 150 steps, some
networks have not found every class yet."""
MIN_ALONE, MANY_ALONE, ENOUGH_ALONE, MAX_ALONE = 8, 16, 40, 96
"""The least is low, because the other way ranks worse: see docs/ranks.md."""
ALONE_POPULATION = 10
"""Architectures that are drawn at random, at least; half of all if that is more."""
ALONE_SCORED = 0.25
"""Seconds to segment the cases, as a share of those of the training; at least ``FEW_CASES``."""
ALONE_FIXED_S = 3.0
"""Seconds to propose an architecture and to build its network."""

FEW_CASES = 12
"""Each architecture is measured on so many cases, if there is time."""
OVERRUN = 1.25
"""The search measures no longer than this multiple of what was planned, so that a machine that got
slower leaves the final trainings their time."""

SHARED_SHARE = 0.35
"""Share of the search's time for shared weights, if there is no time for trainings from random
ones. Each architecture is then trained for a while from the shared weights."""
MIN_SUPERNET, MAX_SUPERNET = 60, 6000
"""Steps of the shared weights."""
MAX_EPOCH_STEPS, MIN_EPOCHS = 250, 20
SHARED_STEPS = (120, 60, 30, 20)
"""Steps of that training: the first with which ``ENOUGH_SHARED`` architectures are measured."""
MIN_SHARED, ENOUGH_SHARED, MAX_SHARED, SHARED_POPULATION = 4, 10, 96, 24


@dataclass(frozen=True)
class Measuring:
    """How a search measures: after ``supernet_steps`` of shared weights, ``number`` architectures.

    Each takes ``each_s`` seconds: ``finetune_steps`` from the shared weights, or from random ones
    if there are none, then ``cases`` to segment.
    """

    strategy: str
    supernet_steps: int
    finetune_steps: int
    cases: int
    number: int
    each_s: float
    population: int


def fit_search(needs: Needs, seconds: float) -> tuple[RunConfig, dict[str, float]]:
    """The search of about so many seconds, and the seconds of its parts.

    Trainings from random weights measure best. If there is no time for enough of them, shared
    weights begin shorter ones.
    """
    timing, free_s = needs.timing, max(0.0, seconds - needs.search_start_s)
    measuring = _alone(needs, free_s) or _from_shared(needs, free_s)
    epoch = epoch_steps(measuring.supernet_steps)
    epochs = measuring.supernet_steps // epoch
    measured_s = measuring.number * measuring.each_s
    config = needs.config.model_copy(
        update={
            "search": needs.config.search.model_copy(
                update={
                    "strategy": measuring.strategy,
                    "epochs": max(1, epochs),
                    "steps_per_epoch": epoch,
                    "validate_every": max(1, epochs),
                    "left_out_fold": needs.outer_fold,
                    "validation_fold": None,
                    "validation_cases": measuring.cases,
                    "split_seed": needs.config.search.seed,
                }
            ),
            "choice": needs.config.choice.model_copy(
                update={
                    "budget_shares": (1.0,),
                    "num_measured": measuring.number,
                    "population": measuring.population,
                    "finetune_steps": measuring.finetune_steps,
                    "max_minutes": round(OVERRUN * measured_s / 60, 3),
                    "measure_inherited": False,
                    "measure_latency": False,
                }
            ),
        }
    )
    shared_s = (
        epochs * epoch * timing.search_step_s + (epochs > 0) * measuring.cases * timing.validated_case_s
    )
    return config, {"steps": needs.search_start_s + shared_s, "measured": measured_s}


def measures_many(config: RunConfig) -> bool:
    """Whether a fitted search can tell many networks apart."""
    return config.search.strategy == "regression" and config.choice.num_measured >= MANY_ALONE


def _alone(needs: Needs, free_s: float) -> Measuring | None:
    """Architectures that are trained from random weights; None: there is no time for enough."""
    timing, most = needs.timing, max(1, needs.seen_cases // 3)
    for steps in ALONE_STEPS:
        trained_s = ALONE_FIXED_S + steps * timing.searched_step_s
        cases = min(most, max(FEW_CASES, int(ALONE_SCORED * trained_s / timing.validated_case_s)))
        each_s = trained_s + cases * timing.validated_case_s
        number = min(MAX_ALONE, int(free_s / each_s))
        if number >= ENOUGH_ALONE:
            break
    if number < MIN_ALONE:
        return None
    population = min(number, max(number // 2, ALONE_POPULATION))
    return Measuring("regression", 0, steps, cases, number, each_s, population)


def _from_shared(needs: Needs, free_s: float) -> Measuring:
    """Few architectures, each trained for some steps that start from the shared weights."""
    timing = needs.timing
    wanted = round(SHARED_SHARE * free_s / timing.search_step_s)
    steps = max(MIN_SUPERNET, min(MAX_SUPERNET, wanted))
    cases = max(1, min(FEW_CASES, needs.seen_cases // 3))
    for finetune in SHARED_STEPS:
        each_s = finetune * timing.searched_step_s + cases * timing.validated_case_s
        number = int((free_s - steps * timing.search_step_s) / each_s)
        if number >= ENOUGH_SHARED:
            break
    number = max(MIN_SHARED, min(MAX_SHARED, number))
    population = min(SHARED_POPULATION, number // 2)
    return Measuring("single-path", steps, finetune, cases, number, each_s, population)


def epoch_steps(steps: int) -> int:
    """Steps of an epoch: a kill loses at most one."""
    return max(1, min(MAX_EPOCH_STEPS, steps // MIN_EPOCHS))
