"""The benchmark of training steps of random networks beside the U-Net's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from test_uxnet_eval_contest import write_config

from benchmarks import step_time


def test_steps_are_compared_with_those_of_the_unet(
    tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "step-time.json"
    config = write_config(tmp_path, demo_set)
    monkeypatch.setattr(sys, "argv", ["step_time", str(config), "--number", "2", "-o", str(results)])
    step_time.main()
    written = json.loads(results.read_text())
    assert written["unet_s"] > 0
    assert {name: len(ratios) for name, ratios in written["ratios"].items()} == {
        "multiply-adds": 2,
        "multiply-adds and activations": 2,
    }
    assert written["machine"]["threads"] == 1
    assert "multiply-adds and activations: " in capsys.readouterr().out.splitlines()[-1]
