"""The benchmarks: what they count, what they leave out, and that the command works."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from isolated_work import die, fail, hold
from torch import nn
from torch.nn import functional as F

from benchmarks import isolation, stopwatch
from benchmarks.cells import QUICK_GRID, Cell, SearchGrid, Taken, growth, reason_to_skip
from benchmarks.isolation import ProcessDied, isolated
from benchmarks.ledger import FORWARD, KERNELS, OF_DATA, OF_WEIGHTS, OPTIMIZER, SUMS, Ledger
from benchmarks.search_part import SearchMeasurements, times_of
from benchmarks.search_step import keep_edges
from benchmarks.stopwatch import StepRecorder
from search_space import SearchSpaceConfig, UXNetSpace
from search_space.grid import Edge

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
GIB = 2**30


def test_each_process_has_its_own_peak_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "PRELOADED", [])
    large, small = isolated(hold, 300), isolated(hold, 1)
    assert (large.value, small.value) == (300, 1)
    assert 290 << 20 <= large.peak_memory_bytes < 400 << 20
    assert small.peak_memory_bytes < 50 << 20
    with pytest.raises(RuntimeError, match="the reason"):
        isolated(fail)
    with pytest.raises(ProcessDied, match="die: its process ended with code 9"):
        isolated(die)


def test_ledger_counts_multiply_adds_by_kind() -> None:
    """A 3x3 convolution from 2 to 4 channels over 2 maps of 5 x 6 voxels: 2 * 30 * 4 * 2 * 9 = 4320, three times."""
    x = torch.randn(2, 2, 5, 6, requires_grad=True)
    kernel = nn.Parameter(torch.randn(4, 2, 3, 3))
    optimizer = torch.optim.SGD([kernel], 0.1)
    F.conv2d(x, kernel, padding=1).square().sum().backward()
    expected = x.grad.clone(), kernel.grad.clone()
    x.grad = kernel.grad = None
    ledger = Ledger(2, CPU)
    with ledger:
        y = F.conv2d(x, kernel, padding=1)
        (y * y).sum().backward()
        with torch.no_grad():
            kernel * 2
        before = dict(ledger.seconds)
        optimizer.step()
        later = {kind for kind in before if ledger.seconds[kind] != before[kind]}
        assert OPTIMIZER in later and SUMS not in later
    torch.testing.assert_close((x.grad, kernel.grad), expected)
    assert {kind: number for kind, number in ledger.multiply_adds.items() if number} == {
        FORWARD: 4320,
        OF_DATA: 4320,
        OF_WEIGHTS: 4320,
    }
    assert all(ledger.seconds[kind] > 0 for kind in (SUMS, KERNELS))


@pytest.mark.parametrize("needed", [(True, False), (False, True)])
def test_ledger_computes_only_the_gradients_that_are_asked_for(needed: tuple[bool, bool]) -> None:
    x, kernel = torch.randn(1, 2, 5, 5), torch.randn(2, 2, 3, 3)
    ledger = Ledger(1, CPU)
    with ledger:
        F.conv2d(x.requires_grad_(needed[0]), kernel.requires_grad_(needed[1])).sum().backward()
    assert (x.grad is not None, kernel.grad is not None) == needed
    assert tuple(ledger.multiply_adds[kind] > 0 for kind in (OF_DATA, OF_WEIGHTS)) == needed


def test_ledger_counts_in_inference_mode() -> None:
    """1 x 2 x 3 channels x 27 taps x 64 voxels."""
    ledger = Ledger(1, CPU)
    with torch.inference_mode(), ledger:
        F.conv3d(torch.randn(1, 2, 4, 4, 4), torch.randn(3, 2, 3, 3, 3), padding=1)
    assert ledger.multiply_adds[FORWARD] == sum(ledger.multiply_adds.values()) == 2 * 3 * 27 * 64


def count_steps(recorder: StepRecorder, seconds: float) -> int:
    steps = []
    recorder.repeat(lambda: steps.append(time.sleep(seconds)))
    return len(steps)


def test_short_steps_are_warmed_up_and_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "ENOUGH_S", 60.0)
    recorder = StepRecorder(CPU, 1, with_ledger=False)
    assert count_steps(recorder, 0.01) == 1 + stopwatch.MAX_STEPS
    result = recorder.to_dict()
    assert len(result["timings"]["wall_s"]) == stopwatch.MAX_STEPS and "ledger" not in result
    assert min(result["timings"]["wall_s"]) >= 0.01 > max(result["timings"]["cpu_s"])
    recorder = StepRecorder(CPU, 1, with_ledger=True)
    assert count_steps(recorder, 0.0) == 1 + stopwatch.MAX_STEPS + 1  # the last one for the ledger alone
    assert len(recorder.to_dict()["timings"]["wall_s"]) == stopwatch.MAX_STEPS


def test_a_long_step_counts_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "LONG_STEP_S", 0.005)
    monkeypatch.setattr(stopwatch, "ENOUGH_S", 0.005)
    recorder = StepRecorder(CPU, 1, with_ledger=True)
    assert count_steps(recorder, 0.01) == 1
    assert len(recorder.to_dict()["timings"]["wall_s"]) == 1 and "ledger" in recorder.to_dict()


def test_one_thread_is_judged_by_processor_time() -> None:
    timings: dict[str, Any] = {"wall_s": [2.0], "cpu_s": [1.0], "peak_gpu_bytes": None}
    assert times_of(timings, 1) == [1.0]
    assert times_of(timings, 2) == [2.0]
    assert times_of(timings | {"peak_gpu_bytes": 5}, 1) == [2.0]


def test_what_would_not_fit_is_left_out_with_its_reason() -> None:
    taken = {Cell("plain", 32, 8): Taken([2.0, 1.0, 9.0], [GIB, 3 * GIB])}
    assert reason_to_skip(Cell("folded", 96, 8), taken, 0, 0) is None  # nothing is known of it
    assert reason_to_skip(Cell("plain", 32, 8), taken, 0, 0) is None  # it has fitted
    double = Cell("plain", 64, 8)  # 8 times the voxels
    assert reason_to_skip(double, taken, 24 * GIB, 16.0) is None
    assert "about 16 s, more than the 15 s" in str(reason_to_skip(double, taken, 24 * GIB, 15.0))
    assert "about 24 GiB of memory; 23 GiB" in str(reason_to_skip(double, taken, 23 * GIB, 16.0))
    assert "about 8 s" in str(reason_to_skip(Cell("plain", 32, 16), taken, 24 * GIB, 7.0))  # twice the width


def test_two_sizes_tell_what_does_not_grow() -> None:
    """2 GiB of weights and 1 GiB for every 20^3 voxels: 3 GiB at 20^3, 10 at 40^3, 66 at 80^3 (not 80)."""
    taken = {Cell("dints", 20, 8): Taken([0.1], [3 * GIB]), Cell("dints", 40, 8): Taken([0.1], [10 * GIB])}
    assert reason_to_skip(Cell("dints", 80, 8), taken, 66.1 * GIB, 1e9) is None
    assert "about 66 GiB" in str(reason_to_skip(Cell("dints", 80, 8), taken, 65.9 * GIB, 1e9))


def test_growth() -> None:
    assert growth([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert growth([1, 4], [5, 10]) == pytest.approx(0.5)


def test_small_sizes_come_first() -> None:
    grid = SearchGrid(forms=("folded",))
    assert [(cell.patch, cell.channels) for cell in grid.size_cells()] == [
        (32, 8), (32, 16), (48, 16), (32, 32), (64, 16), (96, 16),
    ]  # fmt: skip


def test_keep_edges_leaves_every_layer_in_use() -> None:
    space = UXNetSpace(SearchSpaceConfig(levels=3, base_channels=1, spatial_dims=2))
    keep_edges(space, 8)
    # Fine from the node's own level (encoder: the level above), coarse from the next coarser one.
    nearest = (
        "N0.0-N0.1",
        "N0.1-N0.2",
        "N0.0-N1.0",
        "N0.1-N1.0",
        "N0.1-N1.1",
        "N0.2-N1.1",
        "N1.0-N2.0",
        "N1.1-N2.0",
    )
    kept = {edge for edges in space.edges_into.values() for edge in edges}
    assert kept == {Edge.parse(name) for name in nearest}
    assert len(space.edges) == 8
    with pytest.raises(ValueError, match="expected 8 to 11"):
        keep_edges(UXNetSpace(SearchSpaceConfig(levels=3, base_channels=1, spatial_dims=2)), 7)


def test_headline_figures_are_ratios_of_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    results = {
        "stock-float32": ([40.0], 8, 600),
        "plain": ([20.0], 5, 500),
        "folded": ([4.0, 5.0, 9.0], 2, 400),
    }

    def measured(cell: Cell, *_: Any, with_ledger: bool) -> dict[str, Any]:
        times, memory, multiply_adds = results[cell.form]
        return {
            "timings": {"cpu_s": times, "wall_s": times, "peak_gpu_bytes": None},
            "memory_bytes": memory * GIB,
            "ledger": {"multiply_adds": {"convolution": multiply_adds}, "seconds": {"convolution": 1.0}},
        }

    monkeypatch.setattr("benchmarks.search_part.measure", measured)
    peak = isolation.Isolated({"float32": 50.0, "bfloat16": 200.0}, 0, 0)
    monkeypatch.setattr("benchmarks.search_part.isolated", lambda *_: peak)
    grid = SearchGrid(
        patches=(64,), widths=(), edges=(), channels=16, rounds=1, forms=("stock-float32", "plain", "folded")
    )
    measurements = SearchMeasurements(grid, 1, lambda text: None)
    for _ in measurements.rounds():
        pass
    headline = measurements.results()["headline"]
    assert headline["folded_against"] == {
        "stock-float32": {"times_faster": 8.0, "memory_share": 0.25},
        "plain": {"times_faster": 4.0, "memory_share": 0.4},
    }
    shares = {form: row["share_of_peak"] for form, row in headline["forms"].items()}
    assert shares == pytest.approx({"stock-float32": 0.3, "plain": 0.125, "folded": 0.4})
    assert headline["forms"]["folded"]["share_of_peak_by_plain_multiply_adds"] == pytest.approx(0.5)


@pytest.mark.slow
@pytest.mark.long
def test_quick_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--threads", "1", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    for words in ("matrix-multiply peak", "Search step", "Where the time goes", "Fixed networks"):
        assert words in done.stdout
    (path,) = tmp_path.glob("speed-*.json")
    results = json.loads(path.read_text())
    assert results["machine"]["versions"]["torch"] == torch.__version__
    search = results["search"]
    assert {row["form"] for row in search["cells"]} == set(QUICK_GRID.forms) and not search["skipped"]
    assert set(search["headline"]["forms"]) == set(QUICK_GRID.forms)
    counted = {
        form: sum(row["ledger"]["multiply_adds"].values())
        for form, row in search["headline"]["forms"].items()
    }
    assert counted["stock-float32"] == counted["stock-bfloat16"] > counted["plain"] > counted["folded"]
    assert {row["network"] for row in results["networks"]["rows"]} == {
        "searched",
        "unet",
        "dynunet",
        "segresnet",
    }
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
