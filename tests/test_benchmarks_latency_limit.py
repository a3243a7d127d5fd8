"""The benchmark of how many networks keep a limit of latency."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from test_uxnet_eval_contest import write_config
from test_uxnet_eval_network_latencies import OddMeter

from benchmarks import latency_limit


def test_networks_are_drawn_within_both_predictions(
    tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uxnet_eval.search.latencies.LatencyMeter", OddMeter)
    results = tmp_path / "limit.json"
    arguments = [str(write_config(tmp_path, demo_set)), "--number", "12", "-o", str(results)]
    monkeypatch.setattr(sys, "argv", ["latency_limit", *arguments])
    latency_limit.main()
    rows = json.loads(results.read_text())["networks"]
    plain, corrected = ([row["of_limit"] for row in each] for each in rows.values())
    assert len(plain) == len(corrected) == 12
    # Narrow networks take half as long again as the table of this meter says.
    assert max(plain) > 1.2 > max(corrected)
    assert sum(each <= 1 for each in corrected) > sum(each <= 1 for each in plain)
    shown = capsys.readouterr().out.splitlines()
    assert "of 12 keep the limit" in shown[-4]
    assert "2 channels at the finest level: 1." in shown[-3]
