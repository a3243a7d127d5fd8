"""The search of ``uxnet auto`` where there is time for trainings from random weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.auto_runs import planned, tiny_schedule
from uxnet_eval.auto.progress import OverallProgress
from uxnet_eval.auto.run import run_auto
from uxnet_eval.runs.front_record import FrontRecord


def test_a_search_by_regression(demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, list[float]] = {}
    monkeypatch.setattr(
        OverallProgress, "advance", lambda self, share: told.setdefault(self._stage, []).append(share)
    )
    schedule = tiny_schedule(demo_set, folds=(), with_unet=False)
    search = schedule.search.override({"strategy": "regression", "num_measured": 4}, source="test")
    parts = {**schedule.parts, "search": {"steps": 0.2, "measured": 0.8}}
    planned(tmp_path / "out", demo_set, schedule.model_copy(update={"search": search, "parts": parts}))
    run_auto(str(demo_set), tmp_path / "out", with_unet=False)
    record = FrontRecord.load(tmp_path / "out" / "search")
    assert len(record.measured) == 4
    assert all(each.expected_dice is not None for each in record.measured)
    assert told["search"] == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0])
