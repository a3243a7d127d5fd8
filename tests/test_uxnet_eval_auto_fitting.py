"""The schedule that fits the hours: arithmetic on made-up timings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search_space import UserError
from tests.auto_runs import tiny_schedule
from uxnet_eval.auto.fitting import MIN_FINAL, STEPS_PER_FOLD, fit, shortened
from uxnet_eval.auto.fitting_search import measures_many
from uxnet_eval.auto.needs import Needs
from uxnet_eval.auto.schedule import SEARCHED, STAGES, Steps
from uxnet_eval.auto.timing import Timing

FAST = Timing(
    search_step_s=0.1,
    searched_step_s=0.08,
    unet_step_s=0.06,
    validated_case_s=0.05,
    scored_case_s=0.02,
    loaded_case_s=0.02,
    case_gib=0.001,
    search_gib=1.0,
    train_gib=0.8,
)


@pytest.fixture
def needs(tmp_path: Path) -> Needs:
    return Needs(tiny_schedule(tmp_path).search, FAST, num_cases=200, spent_s=60.0)


@pytest.mark.parametrize("hours", [0.3, 0.5, 1.0, 3.0, 24.0])
def test_everything_fits_and_training_has_60_percent(needs: Needs, hours: float) -> None:
    schedule = fit(needs, hours)
    spent = needs.spent_s / 60 + sum(schedule.minutes.values())
    assert spent <= 60 * hours
    assert schedule.minutes["train"] >= 0.58 * 60 * hours
    # Nothing is left lying about either, but where every training has all the steps that help.
    assert spent > 0.88 * 60 * hours


@pytest.mark.parametrize(("hours", "strategy"), [(0.3, "single-path"), (1.0, "regression")])
def test_predicted_minutes_are_those_of_the_steps(needs: Needs, hours: float, strategy: str) -> None:
    """By hand: steps, validations, scoring, and what each run begins with."""
    schedule = fit(needs, hours)
    assert schedule.search.search.strategy == strategy
    final, members = schedule.final, len(schedule.members)
    times = final.epochs // final.validate_every if schedule.folds else 1
    steps_s = final.total * (0.08 + 0.06)
    validated_s = 2 * 40 * 0.05 * (times + 1)  # both networks: during the training, and when it is scored
    others_s = 2 * (8 + 200 * 0.02 + 40 * 0.02)
    assert 60 * schedule.minutes["train"] == pytest.approx(
        members * (steps_s + validated_s + others_s), rel=0.01
    )
    choice = schedule.search.choice
    search = schedule.search.search
    scored_s = search.validation_cases * 0.05
    if search.strategy == "single-path":
        before_s = search.epochs * search.steps_per_epoch * 0.1 + scored_s
        measured_s = choice.num_measured * (choice.finetune_steps * 0.08 + scored_s)
    else:
        before_s = 0.0
        measured_s = choice.num_measured * (3 + choice.finetune_steps * 0.08 + scored_s)
    assert 60 * choice.max_minutes == pytest.approx(1.25 * measured_s, abs=0.1)
    begun_s = 8 + 160 * 0.02
    assert 60 * schedule.minutes["search"] == pytest.approx(before_s + measured_s + begun_s, rel=0.01)


def test_evaluation_counts_every_ensemble(needs: Needs) -> None:
    """By hand, for 40 cases: each network on the left-out fold, both on it and on their own folds."""
    fixed_s, member_s = 4 + 40 * (0.02 + 0.02), 40 * 0.05
    alone_s, both_s, own_s = fixed_s + 3 * member_s, fixed_s + 6 * member_s, fixed_s + 2 * member_s
    assert needs.evaluate_s(3) == pytest.approx(2 * alone_s + both_s + 3 * own_s)
    assert replace(needs, with_unet=False).evaluate_s(3) == pytest.approx(alone_s)
    assert needs.evaluate_s(1) == pytest.approx(2 * (fixed_s + member_s))  # no fold compares both


def test_more_hours_give_folds_and_then_longer_trainings(needs: Needs) -> None:
    short, long, longer = (fit(needs, hours) for hours in (0.2, 3.0, 12.0))
    assert short.folds == ()
    assert short.choice is None or short.choice.total >= 100
    assert long.choice is not None
    assert long.folds == longer.folds == (1, 2, 3, 4)
    assert STEPS_PER_FOLD <= long.final.total < longer.final.total


def test_the_unet_is_one_of_those_that_the_choice_trains(needs: Needs) -> None:
    """By hand; and even one proposal is compared with it, while alone it needs no choice."""
    choice = Steps(epochs=10, steps_per_epoch=20, validate_every=10)
    scored_s = 40 * (2 * 0.05 + 0.02)
    each_s = 8 + 160 * 0.02 + scored_s
    assert needs.choice_s(2, choice) == pytest.approx(3 * each_s + 200 * (2 * 0.08 + 0.06))
    assert needs.choice_s(2, None) == 0.0
    seen = {
        (found.proposals, found.choice is not None) for found in (fit(needs, h / 50) for h in range(8, 40))
    }
    assert (1, False) in seen
    assert (1, True) in seen
    alone = replace(needs, with_unet=False)
    assert all(found.proposals > 1 for h in range(8, 40) if (found := fit(alone, h / 50)).choice is not None)


def test_too_few_hours_name_those_that_do(needs: Needs) -> None:
    with pytest.raises(UserError) as error:
        fit(needs, 0.01)
    message = str(error.value)
    assert "\n" not in message
    assert "--no-unet" in message
    enough = float(message.split("give --hours ")[1].split(",")[0])
    assert fit(needs, enough).final.total >= MIN_FINAL
    alone = float(message.split("which takes ")[1].split(" ")[0])
    assert alone < enough
    without = Needs(needs.config, FAST, needs.num_cases, needs.spent_s, with_unet=False)
    assert fit(without, alone).networks == (SEARCHED,)
    with pytest.raises(UserError):
        fit(needs, 0.8 * enough)


def test_the_time_of_nni_counts_where_it_starts_trainings(needs: Needs) -> None:
    """15 s for an experiment and 10 s for each trial; one training alone is none."""
    through = replace(needs, through_nni=True)
    schedule = fit(needs, 1.0)
    for members in (1, 2):
        plain, nni = (sum(each.train_parts(schedule.final, members).values()) for each in (needs, through))
        assert nni - plain == pytest.approx(15 + 10 * 2 * members)
    assert through.choice_s(3, schedule.choice) - needs.choice_s(3, schedule.choice) == pytest.approx(55)
    alone = replace(through, with_unet=False)
    assert alone.train_parts(schedule.final, 1) == replace(alone, through_nni=False).train_parts(
        schedule.final, 1
    )
    spent = needs.spent_s / 60 + sum(fit(through, 0.3).minutes.values())
    assert spent <= 60 * 0.3


def test_how_the_search_measures_follows_from_its_time(needs: Needs) -> None:
    """Trainings from random weights; without the time for eight, some that start from shared ones."""
    long, medium, short = (fit(needs, hours).search for hours in (2.0, 0.5, 0.3))
    assert long.search.strategy == medium.search.strategy == "regression"
    assert long.choice.finetune_steps >= 300
    assert 40 <= long.choice.num_measured <= 96
    assert long.choice.population == long.choice.num_measured // 2
    assert long.search.validation_cases > 12
    assert medium.choice.finetune_steps == 300
    assert 8 <= medium.choice.num_measured < 16
    assert medium.choice.population == min(10, medium.choice.num_measured)
    assert short.search.strategy == "single-path"
    assert short.choice.finetune_steps >= 20
    assert 10 <= short.choice.num_measured < 100
    assert [measures_many(each) for each in (long, medium, short)] == [True, False, False]


@pytest.mark.parametrize(("left_out", "inner", "learned"), [(0, 1, (1, 2, 3, 4)), (3, 0, (0, 1, 2, 4))])
def test_the_left_out_fold_is_seen_by_no_training(
    needs: Needs, left_out: int, inner: int, learned: tuple[int, ...]
) -> None:
    schedule = fit(replace(needs, outer_fold=left_out), 24.0)
    assert schedule.search.search.left_out_fold == left_out
    assert schedule.folds == learned[: len(schedule.folds)]
    assert len(schedule.folds) > 1
    assert schedule.choice is not None
    choice = schedule.choice_config(SEARCHED, "preset:unet", schedule.choice).train
    assert (choice.fold, choice.left_out_fold) == (inner, left_out)
    members = [schedule.final_config(SEARCHED, "preset:unet", member).train for member in schedule.members]
    assert [(each.fold, each.left_out_fold) for each in members] == [(f, left_out) for f in schedule.folds]
    alone = schedule.final_config(SEARCHED, "preset:unet", None).train
    assert (alone.fold, alone.left_out_fold) == (left_out, None)


def test_a_data_set_with_its_own_folds(needs: Needs) -> None:
    """No more members than folds that are left, no choice without a second fold, and their sizes."""
    three = replace(needs, num_folds=3, left_out=10)
    assert fit(three, 12.0).folds == (1, 2)
    assert fit(replace(needs, num_folds=2), 12.0).folds == ()
    alone = fit(replace(needs, num_folds=1, left_out=50), 12.0)
    assert (alone.folds, alone.proposals, alone.choice) == ((), 1, None)
    assert (three.fold_cases, three.seen_cases) == (10, 190)
    assert needs.fold_cases == 40


def test_a_slower_machine_shortens_the_final_trainings_alone(needs: Needs) -> None:
    schedule = fit(needs, 1.0)
    left_s = 60 * schedule.minutes["train"]
    assert shortened(schedule, needs, left_s + 1).final == schedule.final
    half = shortened(schedule, needs, left_s / 2)
    assert 0.4 < half.final.total / schedule.final.total < 0.55
    assert 60 * half.minutes["train"] <= 1.02 * left_s / 2
    assert half.search == schedule.search
    assert half.minutes["search"] == schedule.minutes["search"]


def test_stages_of_a_schedule_are_known(needs: Needs) -> None:
    assert set(fit(needs, 1.0).minutes) == set(STAGES) - {"check", "plan"}
