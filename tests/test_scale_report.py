"""The report of 200 searches with pictures stays small, and keeps the pictures of the best."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from chromium import browser
from search_runs import FINAL, made_up_run

from uxnet_eval.report.page import page_html
from uxnet_eval.report.picture_budget import drop_pictures
from uxnet_eval.report.sources import folder_source
from uxnet_eval.runs.files import write_json
from uxnet_eval.runs.overlays import Overlay, write_overlays

NUM_SEARCHES = 200


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of 200 searches of five levels, each with pictures that do not compress."""
    random, runs = np.random.default_rng(0), tmp_path_factory.mktemp("runs")
    for number in range(NUM_SEARCHES):
        folder = made_up_run(runs / f"{number:03}", seed=number, levels=5, num_epochs=24)
        write_json(folder / "result.json", {**FINAL, "default": number / NUM_SEARCHES})
        pictures = [random.integers(0, 256, (64, 192, 3), dtype=np.uint8) for _ in range(3)]
        write_overlays(
            folder,
            [
                Overlay(f"case{n}", rank, 0.8, pictures[n])
                for n, rank in enumerate(("best", "median", "worst"))
            ],
            ("background", "one"),
            "made up",
        )
    return page_html(folder_source(runs))


@pytest.mark.slow
def test_the_report_of_200_searches_stays_below_10_mb(page: str) -> None:
    assert len(page.encode()) < 10_000_000
    found = re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page, re.S)
    assert found is not None
    data = json.loads(found[1])
    assert len(data["runs"]) == NUM_SEARCHES
    kept = [run["name"] for run in data["runs"] if run["overlays"]]
    left_out = NUM_SEARCHES - len(kept)
    assert kept == [f"{number:03}" for number in range(left_out, NUM_SEARCHES)] and len(kept) > 20
    assert any(f"the pictures of {left_out} runs are left out" in note for note in data["notes"])


@pytest.mark.slow
@pytest.mark.browser
def test_the_report_of_200_searches_opens_within_3_seconds(page: str, tmp_path: Path) -> None:
    """In processor time of the page's process, which other programs of the machine hardly change."""
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    with browser() as tab:
        tab.call("Performance.enable")
        tab.call("Page.navigate", timeout_s=120, url=path.as_uri())
        tab.wait("document.documentElement.dataset.ready === 'true'", timeout_s=120)
        metrics = {each["name"]: each["value"] for each in tab.call("Performance.getMetrics")["metrics"]}
        assert tab.errors == []
    assert 0 < metrics["ProcessTime"] < 3


def test_pictures_beyond_the_budget_are_those_of_the_worst_runs() -> None:
    def pictures(letter: str) -> list[dict[str, str]]:
        return [{"url": letter * 10}]

    data = {
        "runs": [
            {"name": "a", "final": {"default": 0.1}, "overlays": {"cases": pictures("a")}},
            {"name": "b", "final": {"default": 0.9}, "overlays": {"cases": pictures("b")}},
            {"name": "c", "final": {}},
        ],
        "trainings": [
            {"name": "d", "result": {"default": 0.8}, "drawing": "d" * 10},
            {"name": "e", "result": {"default": 0.7}, "drawing": "d" * 10},  # shared: it counts once
            {"name": "f", "result": {}, "drawing": None},
        ],
        "overlays": [
            {"run": "e", "cases": pictures("e")},
            {"run": "f", "cases": pictures("f")},
        ],
    }
    notes = drop_pictures(data, 30)
    assert [run.get("overlays") is not None for run in data["runs"]] == [False, True, False]
    assert [each["drawing"] is not None for each in data["trainings"]] == [True, True, False]
    assert [each["run"] for each in data["overlays"]] == ["e"]
    assert notes[0].startswith("the pictures of 2 runs are left out")
    assert drop_pictures(data, 30) == []
