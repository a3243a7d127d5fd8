"""The search that fits into some seconds: plain arithmetic on a timing."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.search import RunConfig
from .needs import Needs

ALONE_STEPS = (600, 450, 300)
"""Steps of a training from random weights that measures an architecture: the first with which
``ENOUGH_ALONE`` architectures are measured, or ``MIN_ALONE`` with the last. After 150 steps, some
networks have not found every class yet."""
MIN_ALONE, ENOUGH_ALONE, MAX_ALONE = 16, 40, 96
ALONE_SCORED = 0.25
"""Seconds to segment the cases, as a share of those of the training; at least ``FEW_CASES``."""
ALONE_FIXED_S = 3.0
"""Seconds to propose an architecture and to build its network."""

MIN_SUPERNET, MAX_SUPERNET = 60, 6000
"""Steps of the shared weights."""
ENOUGH_SUPERNET = 1500
"""With fewer steps, shared weights do not measure alone. It is the number of the shipped contests;
how well they rank then depends on the data, see docs/ranks.md."""
FEW_CASES = 12
"""Each architecture is measured on so many cases, if there is time."""
OVERRUN = 1.25
"""The search measures no longer than this multiple of what was planned, so that a machine that got
slower leaves the final trainings their time."""
MAX_EPOCH_STEPS, MIN_EPOCHS = 250, 20

ROUGH_SHARE = 0.5
"""Share of the search's time for the shared weights, if they measure alone."""
MIN_ROUGH, MANY_ROUGH, MAX_ROUGH, ROUGH_POPULATION = 10, 100, 300, 50
"""Architectures that are measured then. There are more cases than ``FEW_CASES``, up to a third of
all, if ``MANY_ROUGH`` architectures can still be measured."""
ROUGH_FIXED_S = 0.3
"""Seconds of a measurement that do not depend on the cases."""

TUNED_SHARE = 0.35
"""The same share, if each architecture is trained before it is measured."""
TUNED_STEPS = (120, 60, 30, 20)
"""Steps of that training: the first with which ``ENOUGH_TUNED`` architectures are measured."""
MIN_TUNED, ENOUGH_TUNED, MAX_TUNED, TUNED_POPULATION = 4, 10, 96, 24


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
    weights measure many networks; if there is no time to learn those, they only begin the trainings
    of a few.
    """
    timing, free_s = needs.timing, max(0.0, seconds - needs.search_start_s)
    measuring = _alone(needs, free_s)
    if measuring is None:
        measuring = _rough(needs, free_s)
        if measuring.supernet_steps < ENOUGH_SUPERNET:
            measuring = _tuned(needs, free_s)
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
                    "population": min(measuring.population, max(2, measuring.number // 2)),
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
    """Whether a fitted search can tell networks apart: not by the last of the three ways."""
    return config.search.strategy == "regression" or not config.choice.finetune_steps


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
    return Measuring("regression", 0, steps, cases, number, each_s, number // 2)


def _rough(needs: Needs, free_s: float) -> Measuring:
    """Many architectures, measured by the shared weights alone."""
    case_s, most = needs.timing.validated_case_s, max(1, needs.seen_cases // 3)
    steps = _supernet_steps(needs, ROUGH_SHARE * free_s)
    measuring_s = free_s - steps * needs.timing.search_step_s

    def cases_for(number: int) -> int:
        return int((measuring_s / number - ROUGH_FIXED_S) / case_s)

    cases = max(1, min(most, max(cases_for(MANY_ROUGH), min(FEW_CASES, cases_for(MIN_ROUGH)))))
    each_s = ROUGH_FIXED_S + cases * case_s
    number = max(MIN_ROUGH, min(MAX_ROUGH, int(measuring_s / each_s)))
    return Measuring("single-path", steps, 0, cases, number, each_s, ROUGH_POPULATION)


def _tuned(needs: Needs, free_s: float) -> Measuring:
    """Few architectures, each trained for some steps that start from the shared weights."""
    timing = needs.timing
    steps = _supernet_steps(needs, TUNED_SHARE * free_s)
    cases = max(1, min(FEW_CASES, needs.seen_cases // 3))
    for finetune in TUNED_STEPS:
        each_s = finetune * timing.searched_step_s + cases * timing.validated_case_s
        number = int((free_s - steps * timing.search_step_s) / each_s)
        if number >= ENOUGH_TUNED:
            break
    number = max(MIN_TUNED, min(MAX_TUNED, number))
    return Measuring("single-path", steps, finetune, cases, number, each_s, TUNED_POPULATION)


def _supernet_steps(needs: Needs, seconds: float) -> int:
    return max(MIN_SUPERNET, min(MAX_SUPERNET, round(seconds / needs.timing.search_step_s)))


def epoch_steps(steps: int) -> int:
    """Steps of an epoch: a kill loses at most one."""
    return max(1, min(MAX_EPOCH_STEPS, steps // MIN_EPOCHS))
