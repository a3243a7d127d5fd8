"""The benchmark of the time that trained networks take."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from test_uxnet_eval_prediction_command import write_checkpoint

from benchmarks import latency
from uxnet_eval.dataset.msd import read_dataset

NAMES = {"unet": "preset:unet", "u-resnet": "u-resnet"}


def test_networks_are_compared_with_the_first(
    tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / name for name in ("unet", "u-resnet")]
    for folder in folders:
        folder.mkdir()
        write_checkpoint(folder / "best.pt", read_dataset(demo_set), architecture=NAMES[folder.name])
    results = tmp_path / "latency.json"
    monkeypatch.setattr(sys, "argv", ["latency", *map(str, folders), "-o", str(results)])
    latency.main()
    written = json.loads(results.read_text())
    unet, other = written["networks"]
    assert [unet["network"], other["network"]] == list(map(str, folders))
    assert unet["ratio"] == 1
    assert other["multiply_adds"] != unet["multiply_adds"]
    assert other["ratio"] == pytest.approx(other["latency_ms"] / unet["latency_ms"], abs=0.02)
    assert written["machine"]["threads"] == 1
    assert capsys.readouterr().out.count(" of the first") == 2
