"""The schedule that fits the hours: plain arithmetic on a timing.

The final trainings get at least ``TRAIN_SHARE`` of the time. What search and choice leave over goes
to them too.
"""

from __future__ import annotations

import math
from dataclasses import replace

from search_space.errors import UserError

from .fitting_search import epoch_steps, fit_search
from .needs import Needs
from .schedule import Schedule, Steps

TRAIN_SHARE, SEARCH_SHARE, CHOICE_SHARE = 0.62, 0.2, 0.1
USED_SHARE = 0.97
"""Share of the hours that is planned; the rest is for what no timing sees."""
REPORT_S = 15.0
"""Seconds of the last stage."""
MIN_CHOICE, MAX_PROPOSALS = 100, 4
"""A proposal is trained for at least so many steps, or there is no choice."""
CHOICE_OF_FINAL = 0.5
"""A training of the choice has at most this share of a final training's steps."""
MIN_FINAL = 250
"""Fewest steps of a final training."""
STEPS_PER_FOLD, MAX_FINAL = 2500, 250_000
"""Another fold is trained only if every training then has so many steps; most steps of a training
(nnU-Net's)."""
VALIDATED_SHARE, MAX_VALIDATIONS = 0.1, 10


class TooFewHours(UserError):
    """No schedule fits the hours.

    Attributes:
        least: the fewest for which there is one.
    """

    def __init__(self, message: str, least: float) -> None:
        super().__init__(message)
        self.least = least


def fit(needs: Needs, hours: float) -> Schedule:
    """The schedule for these hours.

    Raises:
        TooFewHours: if they are too few; it names the fewest possible hours, and what to leave
            out.
    """
    schedule = _fit(needs, hours)
    if schedule is not None:
        return schedule
    least = _least_hours(needs)
    without = ""
    if needs.with_unet:
        alone = _least_hours(replace(needs, with_unet=False))
        without = f", or leave out the U-Net with --no-unet, which takes {_hours(alone)} hours"
    raise TooFewHours(
        f"{needs.config.dataset}: {hours:g} hours are too few; this machine needs at least {_hours(least)} for the "
        f"smallest schedule of these {needs.num_cases} cases (a training step takes "
        f"{needs.timing.searched_step_s:.2g} s); give --hours {_hours(least)}{without}",
        float(_hours(least)),
    )


def _hours(hours: float) -> str:
    """Rounded up to two significant digits, so that the hours do."""
    digits = 1 - math.floor(math.log10(hours))
    return f"{math.ceil(hours * 10**digits) / 10**digits:.10g}"


def _least_hours(needs: Needs) -> float:
    """The fewest hours for which there is a schedule, to within 3 %."""
    hours = 0.001
    while _fit(needs, hours) is None:
        hours *= 1.03
    return hours


def _fit(needs: Needs, hours: float) -> Schedule | None:
    timing, total_s = needs.timing, USED_SHARE * 3600 * hours
    evaluate_s = needs.evaluate_s(1)
    free_s = total_s - needs.spent_s - evaluate_s - REPORT_S
    shorter_s = max(0.0, free_s - TRAIN_SHARE * total_s)  # for search and choice
    search_s = min(SEARCH_SHARE * total_s, shorter_s * SEARCH_SHARE / (SEARCH_SHARE + CHOICE_SHARE))
    config, search_parts = fit_search(needs, search_s)
    search_s = sum(search_parts.values())
    choice_s = min(CHOICE_SHARE * total_s, max(0.0, shorter_s - search_s))
    longest = math.floor(CHOICE_OF_FINAL * _final_steps(needs, TRAIN_SHARE * total_s, 1))
    proposals, choice = _fit_choice(needs, choice_s, longest)
    choice_s = needs.choice_s(proposals, choice)
    train_s = free_s - search_s - choice_s
    if train_s < TRAIN_SHARE * total_s:
        return None
    several = [n for n in range(2, needs.num_folds) if _final_steps(needs, train_s, n) >= STEPS_PER_FOLD]
    num_folds = max(several, default=1)
    train_s -= needs.evaluate_s(num_folds) - evaluate_s
    evaluate_s = needs.evaluate_s(num_folds)
    final_steps = min(MAX_FINAL, _final_steps(needs, train_s, num_folds))
    if final_steps < MIN_FINAL:
        return None
    final = _final(needs, final_steps, num_folds)
    learned = tuple(fold for fold in range(needs.num_folds) if fold != needs.outer_fold)
    train_parts = needs.train_parts(final, num_folds)
    cases_gib = timing.case_gib * needs.num_cases
    seconds = {
        "search": search_s,
        "choose": choice_s,
        "train": sum(train_parts.values()),
        "evaluate": evaluate_s,
        "report": REPORT_S,
    }
    gib = timing.train_gib + cases_gib
    return Schedule(
        search=config,
        proposals=proposals,
        choice=choice,
        final=final,
        folds=learned[:num_folds] if num_folds > 1 else (),
        with_unet=needs.with_unet,
        minutes={name: round(value / 60, 2) for name, value in seconds.items()},
        parts={
            "search": {name: round(value / 60, 2) for name, value in search_parts.items()},
            "train": {name: round(value / 60, 2) for name, value in train_parts.items()},
        },
        memory_gib={
            "search": round(timing.search_gib + cases_gib, 2),
            **{name: round(gib, 2) for name in ("choose", "train", "evaluate")},
        },
    )


def _fit_choice(needs: Needs, seconds: float, longest: int) -> tuple[int, Steps | None]:
    """The number of proposals and the length of their trainings; None if there is no choice.

    Without a second fold there is none that could choose. One proposal without the U-Net needs no
    choice.
    """
    one, two = (Steps(epochs=number, steps_per_epoch=1, validate_every=1) for number in (1, 2))
    for proposals in range(MAX_PROPOSALS if needs.num_folds > 1 else 0, 0 if needs.with_unet else 1, -1):
        one_s = needs.choice_s(proposals, one)
        step_s = needs.choice_s(proposals, two) - one_s
        steps = 1 + int((seconds - one_s) / step_s)
        if steps >= MIN_CHOICE:
            return proposals, _steps(min(steps, max(longest, MIN_CHOICE)))
    return 1, None


def _final_steps(needs: Needs, seconds: float, num_folds: int) -> int:
    """Steps of each final training that fit into so many seconds."""
    num = num_folds * len(needs.steps_s)
    fixed_s = num * needs.training_fixed_s + needs.around_s(num)
    validating = 1 + (VALIDATED_SHARE if num_folds > 1 else 0)
    return max(0, int((seconds - fixed_s) / (num_folds * sum(needs.steps_s.values()) * validating)))


def _final(needs: Needs, steps: int, num_folds: int) -> Steps:
    if num_folds == 1:
        return _steps(steps)
    step_s = min(needs.steps_s.values())
    validation_s = max(1e-3, needs.fold_cases * needs.timing.validated_case_s)
    times = max(1, min(MAX_VALIDATIONS, int(VALIDATED_SHARE * steps * step_s / validation_s)))
    return _steps(steps, times)


def _steps(steps: int, validations: int = 1) -> Steps:
    epoch = epoch_steps(steps)
    epochs = max(1, steps // epoch)
    return Steps(epochs=epochs, steps_per_epoch=epoch, validate_every=max(1, math.ceil(epochs / validations)))


def shortened(schedule: Schedule, needs: Needs, left_s: float) -> Schedule:
    """The schedule with fewer steps in the final trainings, if they would take longer than is left.

    Args:
        schedule: as planned.
        needs: with the timing of the networks that are trained.
        left_s: seconds for the final trainings.
    """
    num_folds = len(schedule.members)
    predicted = needs.train_parts(schedule.final, num_folds)
    if sum(predicted.values()) > left_s:
        steps = max(MIN_FINAL // 2, _final_steps(needs, left_s, num_folds))
        if steps < schedule.final.total:
            final = _final(needs, steps, num_folds)
            schedule = schedule.model_copy(update={"final": final})
            predicted = needs.train_parts(final, num_folds)
    return schedule.model_copy(
        update={
            "minutes": {**schedule.minutes, "train": round(sum(predicted.values()) / 60, 2)},
            "parts": {
                **schedule.parts,
                "train": {name: round(value / 60, 2) for name, value in predicted.items()},
            },
        }
    )
