"""``benchmarks.predict_speed``: what it times, what it says, and the same scans and weights for nnU-Net."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from test_uxnet_eval_prediction_command import write_checkpoint
from typer.testing import CliRunner

from benchmarks.nnunet_side import check_windows, with_windows_of
from benchmarks.predict_speed import FORMS, PARTS, main, table, timed
from benchmarks.timed_command import Parts
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.networks.checkpoint import load_model
from uxnet_eval.planning.nnunet_plans import NNUNetPlans

ROOT = Path(__file__).parents[1]
RECORDS = sorted((ROOT / "benchmarks" / "results").glob("predict-*.json"))


def result(seconds: list[float], dice: float | None) -> dict[str, Any]:
    return {
        "what": "a command",
        "parts_s": dict(zip(PARTS, seconds, strict=True)),
        "dice": None if dice is None else {"mean": dice},
    }


def test_time_of_a_scan_is_without_the_start_up() -> None:
    """Of two scans: 5 s of start-up; 1 + 2 + 0.5 + 0.5 = 4 s and 1 + 10 + 0.5 + 0.5 = 12 s for both."""
    forms = {
        "uxnet-float32": result([5, 1, 2, 0.5, 0.5], 0.8),
        "nnunet-default": result([6, 1, 10, 0.5, 0.5], None),
    }
    lines = table({"num_scans": 2, "forms": forms}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0][1:4] == ["one scan, cold (s)", "each further scan (s)", "against nnU-Net's"]
    assert cells[2] == ["a command", "7.0", "2.00", "3.0 x", "5.0", "0.50", "1.00", "0.25", "0.25", "0.8000"]
    assert cells[3][1:4] == ["12.0", "6.00", "1.0 x"] and cells[3][-1] == "not trained"


def test_parts_are_timed_and_counted() -> None:
    parts = Parts()
    twice = parts.timed(lambda x: 2 * x, "network")
    assert [twice(3), twice(4)] == [6, 8]
    assert parts.num_calls == {"network": 2}
    start, network = parts.seconds["start-up"], parts.seconds["network"]
    assert start[0] > 0.1 > network[0] >= 0 and start[1] > 0.1 > network[1] >= 0


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"absent.* was not found"):
        timed(
            ["uxnet", "check", str(tmp_path / "absent")],
            tmp_path / "parts.json",
        )


def test_a_network_that_was_trained_on_smaller_patches_takes_the_windows_of_the_plans(
    demo_set: Path, tmp_path: Path
) -> None:
    dataset = read_dataset(demo_set)
    trained = load_model(write_checkpoint(tmp_path / "best.pt", dataset), "cpu", "float32")
    larger = trained.plan.model_copy(update={"patch_size": tuple(2 * n for n in trained.plan.patch_size)})
    plans = NNUNetPlans(tmp_path / "plans.json", {}, "3d_fullres", {}, (2, 1, 0), larger)
    with pytest.raises(ValueError, match="patch_size"):
        check_windows(trained, plans)
    found = load_model(with_windows_of(plans, trained, dataset, tmp_path / "windows.pt"), "cpu", "float32")
    check_windows(found, plans)
    for name, weight in trained.network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], weight)


@pytest.mark.slow
def test_uxnet_predict_is_timed(demo_set: Path, tmp_path: Path) -> None:
    dataset = read_dataset(demo_set)
    checkpoint = write_checkpoint(tmp_path / "best.pt", dataset)
    words = [
        "uxnet",
        "predict",
        "-i",
        dataset.cases[0].image,
        "-o",
        tmp_path / "out",
        "--checkpoint",
        checkpoint,
    ]
    found = timed([str(word) for word in words], tmp_path / "parts.json")
    assert (tmp_path / "out" / dataset.cases[0].image.name).is_file()
    parts = found["parts"]
    assert set(parts) == set(PARTS) and found["num_windows"] >= 2
    assert 0 < parts["network"][1] < parts["windows"][1]
    assert parts["start-up"][1] > parts["windows"][1] + parts["read"][1] + parts["write"][1]
    assert found["cpu_s"] >= parts["start-up"][1] + parts["windows"][1]


@pytest.mark.exports
@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("nnunetv2", "onnxruntime", "onnxscript")),
    reason="nnunetv2, onnxruntime or onnxscript is missing: make test-exports",
)
def test_same_scans_and_windows_for_all(
    hippocampus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "PYTHONWARNINGS", "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # restored afterwards
    app = typer.Typer()
    app.command()(main)
    output = tmp_path / "speed.json"
    words = [str(hippocampus), "-o", str(output), "--rounds", "1", "--base-channels", "4"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, (found.output, found.exception)
    results = json.loads(output.read_text())
    assert set(results["forms"]) == set(FORMS) - {"nnunet-mirrored"}
    assert len({row["num_windows"] for row in results["forms"].values()}) == 1
    assert results["parameters"]["nnunet"] > 10 * results["parameters"]["uxnet"]
    assert table(results) in found.output


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_tables_of_the_docs_are_those_of_the_records(record: Path) -> None:
    assert table(json.loads(record.read_text())) in (ROOT / "docs" / "speed.md").read_text()
