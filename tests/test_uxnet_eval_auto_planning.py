"""Width, patch and batch by timings, and the timing of real steps."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from search_space import UserError
from search_space.activations import genotype_activations
from search_space.cost import genotype_cost
from tests.auto_runs import tiny_schedule
from tests.test_uxnet_eval_auto_fitting import FAST
from uxnet_eval.auto import planning, timing
from uxnet_eval.auto.fitting_search import measures_many
from uxnet_eval.auto.needs import Needs
from uxnet_eval.auto.planning import WIDTH_STEPS, WIDTHS, describe, plan_auto, schedule_yaml
from uxnet_eval.auto.timing import PeakMemory, Timing, time_steps
from uxnet_eval.cli import app
from uxnet_eval.config.plan import Plan
from uxnet_eval.config.search import BY_MEASUREMENT, RunConfig
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.dataset.demo_data import make_demo_data
from uxnet_eval.dataset.msd import Dataset, read_dataset
from uxnet_eval.search.single_path_module import anchor_of


def machine(monkeypatch: pytest.MonkeyPatch, seconds_per_giga: float) -> list[RunConfig]:
    """Replaces the timing by a machine whose steps take time by their multiply-adds; what was timed."""
    timed: list[RunConfig] = []

    def time_steps(config: RunConfig, dataset: Dataset) -> Timing:
        timed.append(config)
        step_s = seconds_per_giga * config.plan.batch_size * (config.budget.multiply_adds or 0) / 1e9
        steps = ("search_step_s", "searched_step_s", "unet_step_s")
        return replace(FAST, **dict.fromkeys(steps, step_s))

    monkeypatch.setattr(planning, "time_steps", time_steps)
    return timed


def test_a_fast_machine_takes_wider_networks(demo_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = read_dataset(demo_set)
    machine(monkeypatch, 1.0)
    slow = plan_auto(dataset, 0.5)
    timed = machine(monkeypatch, 0.01)
    fast = plan_auto(dataset, 0.5)
    assert slow.search.space.base_channels == 8
    assert fast.search.space.base_channels == 32
    assert [config.space.base_channels for config in timed] == [8, 12, 16, 24, 32]
    for schedule in (slow, fast):
        budget, space = (
            schedule.search.budget,
            schedule.search.space_config(dataset.num_channels, dataset.num_classes),
        )
        unet = anchor_of(space)
        patch_size = schedule.search.plan.patch_size
        assert genotype_cost(unet, space, patch_size) == (budget.max_parameters, budget.multiply_adds)
        assert genotype_activations(unet, space, patch_size) == budget.max_activations


@pytest.mark.parametrize("seconds_per_giga", [0.02, 0.1, 0.3, 1.0])
def test_a_wider_network_leaves_the_search_time_to_measure_many(
    seconds_per_giga: float, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, seconds_per_giga)
    schedule = plan_auto(read_dataset(demo_set), 0.5)
    if schedule.search.space.base_channels > WIDTHS[0]:
        assert measures_many(schedule.search)
        assert schedule.final.total * len(schedule.members) >= WIDTH_STEPS


def test_a_slow_machine_takes_coarser_voxels_and_smaller_patches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_demo_data(tmp_path / "data", num_cases=5, size_voxels=(96, 64, 40))
    dataset = read_dataset(folder)
    machine(monkeypatch, 0.001)
    whole = plan_auto(dataset, 0.5)
    machine(monkeypatch, 3.0)
    part = plan_auto(dataset, 2.0)
    assert whole.search.plan.patch_size == (96, 64, 40)
    assert part.search.plan.patch_size < whole.search.plan.patch_size
    assert whole.search.plan.spacing_mm == (1, 1, 1)
    assert part.search.plan.spacing_mm == (1.6667, 1.6667, 1.6667)
    assert part.search.plan.batch_size == whole.search.plan.batch_size == 2


@pytest.mark.parametrize(
    ("spacing_mm", "wanted", "expected"),
    [
        ((1.5, 1.5, 10.0), 2.25, 1.5),  # the thick axis stays as it is
        ((1.5, 1.5, 10.0), 8.0, 5 / 3),
        ((1.0, 1.0, 1.0), 2.0, 2 ** (1 / 3)),
    ],
)
def test_how_much_coarser_follows_from_the_steps_that_are_wanted(
    spacing_mm: tuple[float, ...], wanted: float, expected: float
) -> None:
    plan = Plan(
        spatial_dims=3, spacing_mm=spacing_mm, patch_size=(32,) * 3, strides=((2, 2, 2),), batch_size=2
    )
    assert planning._coarser(plan, wanted) == pytest.approx(expected)


def gpu(monkeypatch: pytest.MonkeyPatch, free_gib: float) -> None:
    """Makes the planning see a GPU with so much free memory."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free_gib * 2**30), 2**40))


def test_patch_batch_and_width_follow_from_the_memory_of_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 % of the free memory may be used; what is planned fits it, and uses it better the more there is."""
    folder = make_demo_data(tmp_path / "data", num_cases=5, size_voxels=(64, 64, 64))
    dataset = read_dataset(folder)
    machine(monkeypatch, 1e-6)  # time is no limit
    plans = []
    for free_gib in (3.0, 8.0, 80.0):
        gpu(monkeypatch, free_gib)
        config = plan_auto(dataset, 5.0).search
        assert planning._needed_gib(config, dataset) <= 0.8 * free_gib
        plans.append(config)
    voxels = [math.prod(config.plan.patch_size) for config in plans]
    assert voxels[0] < voxels[1] <= voxels[2]
    assert plans[1].plan.patch_size == (64, 64, 64)
    widths = [config.space.base_channels for config in plans]
    assert widths[0] < widths[1] < widths[2] == 32


def test_a_batch_has_as_many_patches_as_memory_and_data_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small images: 5 % of the voxels of 48 are 2 patches; of the 160 that are seen of 200, 8."""
    machine(monkeypatch, 1e-6)
    batches = []
    for num_cases in (48, 200):
        folder = make_demo_data(tmp_path / str(num_cases), num_cases=num_cases, spatial_dims=2)
        dataset = read_dataset(folder)
        gpu(monkeypatch, 16.0)
        batches.append(plan_auto(dataset, 5.0).search.plan.batch_size)
    assert batches == [2, 8]
    gpu(monkeypatch, 2.05)  # 1.64 GiB may be used, of which 1.5 are fixed
    assert 2 <= plan_auto(dataset, 5.0).search.plan.batch_size < 8


def test_candidates_are_those_of_the_dimensions(
    demo_set_2d: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, 1.0)
    flat, solid = (plan_auto(read_dataset(folder), 0.5).search for folder in (demo_set_2d, demo_set))
    assert flat.space.normal_candidates == ("conv3", "2xconv3", "conv3_rate2")
    assert solid.space.normal_candidates == ("conv3", "conv3x3x1", "pseudo3d", "2xconv3", "conv3_rate2")


def test_three_cases_are_one_line(tmp_path: Path) -> None:
    dataset = read_dataset(make_demo_data(tmp_path / "data", num_cases=3, size_voxels=(8, 8, 8)))
    with pytest.raises(UserError, match="found 3 training cases, uxnet auto needs at least 5"):
        plan_auto(dataset, 1.0)


def test_cases_of_few_patients_are_one_line(tmp_path: Path) -> None:
    folder = make_demo_data(tmp_path / "data", num_cases=8, size_voxels=(8, 8, 8))
    ids = [case.case_id for case in read_dataset(folder).cases]
    lines = ["case,patient", *(f"{case_id},p{number // 2}" for number, case_id in enumerate(ids))]
    (folder / "groups.csv").write_text("\n".join([*lines, ""]))
    with pytest.raises(
        UserError, match="found 8 training cases of 4 patients, uxnet auto needs at least 5 patients"
    ):
        plan_auto(read_dataset(folder), 1.0)


def test_folds_of_a_split_file_are_those_that_are_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three folds, of 1, 2 and 3 cases: fold 0 scores, so two members at most."""
    folder = make_demo_data(tmp_path / "data", num_cases=6, size_voxels=(24, 24, 16))
    ids = [case.case_id for case in read_dataset(folder).cases]
    parts = [ids[:1], ids[1:3], ids[3:]]
    splits = [{"train": [i for i in ids if i not in part], "val": part} for part in parts]
    (folder / "splits_final.json").write_text(json.dumps(splits))
    machine(monkeypatch, 1e-6)
    dataset = read_dataset(folder)
    schedule = plan_auto(dataset, 5.0)
    assert schedule.folds == (1, 2)
    needs = Needs(schedule.search, FAST, 6, 0.0).of_folds(dataset)
    assert (needs.num_folds, needs.fold_cases, needs.seen_cases) == (3, 1, 5)


def test_real_steps_are_timed(demo_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(timing, "NUM_STEPS", 1)
    found = time_steps(tiny_schedule(demo_set).search, read_dataset(demo_set))
    for name, value in vars(found).items():
        assert value > 0, name
    # A prepared case: image float32 and label, and the foreground's places.
    voxels = 24 * 24 * 16
    assert found.case_gib * 2**30 >= 4 * voxels
    assert found.search_gib > 0.05  # Python and PyTorch alone


def test_peak_memory_sees_what_was_freed() -> None:
    with PeakMemory() as before:
        pass
    with PeakMemory() as peak:
        held = bytearray(300 * 2**20)
        held[:: 2**12] = b"1" * len(held[:: 2**12])
        import time

        time.sleep(0.1)
        del held
    assert 0.2 < peak.gib - before.gib < 0.5


def test_the_file_holds_predictions_and_is_a_run_configuration(demo_set: Path, tmp_path: Path) -> None:
    schedule = tiny_schedule(demo_set)
    path = tmp_path / "mine.run.yml"
    path.write_text(schedule_yaml(schedule, 5.0))
    assert RunConfig.load(path) == schedule.search
    comments = [line for line in path.read_text().splitlines() if line.startswith("# ")]
    for line in describe(schedule, 5.0):
        assert f"# {line}" in comments


def test_plan_with_hours(demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 1.0)
    path = tmp_path / "mine.run.yml"

    def plan(*options: str) -> Any:
        return CliRunner().invoke(
            app, ["plan", str(demo_set), "-o", str(path), *options], catch_exceptions=False
        )

    result = plan("--hours", "0.5")
    assert "train: " in result.output
    command = result.output.splitlines()[-2]
    assert command.startswith(f"its training: uxnet train --config {path} --architecture genotype.json")
    given = dict(part.split("=") for part in command.split(" --set ")[1:])
    trained = TrainConfig.load(path).override({name: int(value) for name, value in given.items()})
    assert trained.train.epochs * trained.train.steps_per_epoch > 100
    assert trained.network.base_channels == RunConfig.load(path).space.base_channels
    assert result.output.splitlines()[-1].endswith(f"uxnet search --config {path} --output runs/first")
    config = RunConfig.load(path)
    assert config.search.strategy in BY_MEASUREMENT
    assert config.search.left_out_fold == 0
    assert "# train: " in path.read_text()
    with pytest.raises(UserError, match=r"0\.001 hours are too few; this machine needs at least"):
        plan("--hours", "0.001", "--force")
    with pytest.raises(UserError, match="--hours -1: expected a time above 0"):
        plan("--hours", "-1", "--force")
    with pytest.raises(UserError, match="--hours: chooses the patch, which --like takes"):
        plan("--hours", "1", "--like", "plans.json", "--force")
