"""Width, patch and batch by timings, and the timing of real steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from search_space import UserError
from tests.auto_runs import tiny_schedule
from tests.test_uxnet_eval_auto_fitting import FAST
from uxnet_eval.auto import planning, timing
from uxnet_eval.auto.planning import describe, plan_auto, schedule_yaml
from uxnet_eval.auto.timing import PeakMemory, Timing, time_steps
from uxnet_eval.cli import app
from uxnet_eval.config.search import RunConfig
from uxnet_eval.dataset.demo_data import make_demo_data
from uxnet_eval.dataset.msd import Dataset, read_dataset


def machine(monkeypatch: pytest.MonkeyPatch, seconds_per_giga: float) -> list[RunConfig]:
    """Replaces the timing by a machine whose steps take time by their multiply-adds; what was timed."""
    timed: list[RunConfig] = []

    def time_steps(config: RunConfig, dataset: Dataset) -> Timing:
        timed.append(config)
        step_s = seconds_per_giga * config.plan.batch_size * (config.budget.multiply_adds or 0) / 1e9
        return replace(FAST, search_step_s=step_s, searched_step_s=step_s, unet_step_s=step_s)

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
    assert fast.multiply_adds > 8 * slow.multiply_adds
    assert fast.search.budget.max_parameters is not None


def test_a_slow_machine_takes_smaller_patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_demo_data(tmp_path / "data", num_cases=5, size_voxels=(96, 64, 40))
    dataset = read_dataset(folder)
    machine(monkeypatch, 0.001)
    whole = plan_auto(dataset, 0.5)
    machine(monkeypatch, 3.0)
    part = plan_auto(dataset, 2.0)
    assert whole.search.plan.patch_size == (96, 64, 40)
    assert part.search.plan.patch_size < whole.search.plan.patch_size
    assert part.search.plan.batch_size == whole.search.plan.batch_size == 2


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
    assert result.output.splitlines()[-1].endswith(f"uxnet search --config {path} --output runs/first")
    config = RunConfig.load(path)
    assert config.search.strategy == "single-path"
    assert config.search.left_out_fold == 0
    assert "# train: " in path.read_text()
    with pytest.raises(UserError, match=r"0\.001 hours are too few; this machine needs at least"):
        plan("--hours", "0.001", "--force")
    with pytest.raises(UserError, match="--hours -1: expected a time above 0"):
        plan("--hours", "-1", "--force")
    with pytest.raises(UserError, match="--hours: chooses the patch, which --like takes"):
        plan("--hours", "1", "--like", "plans.json", "--force")
