"""Every strategy by its name in a run configuration: its files, that it continues, and what it refuses."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_space import Genotype, UserError
from search_space.reading import read_json
from strategies.one_shot.steps import ResumableDartsModule
from uxnet_eval.config.search import STRATEGIES, RunConfig
from uxnet_eval.report import read_source
from uxnet_eval.runs.front_record import FrontRecord
from uxnet_eval.runs.search_record import SearchRecord
from uxnet_eval.search import choosing
from uxnet_eval.search.export import export_genotype
from uxnet_eval.search.measurement import EXPLORE
from uxnet_eval.search.ronasmis_module import RonasmisModule
from uxnet_eval.search.run import BY_GRADIENT, run_search

ONE_SHOT = ("darts", "gumbel", "proxyless", "scnas")
RL = pytest.param(
    "rl",
    marks=[
        pytest.mark.exports,
        pytest.mark.skipif(find_spec("tianshou") is None, reason="tianshou is missing (make test-exports)"),
    ],
)


def write_config(folder: Path, dataset: Path, strategy: str, **changes: dict[str, Any]) -> Path:
    """A 2-level space of 2-D images: a search of seconds."""
    values: dict[str, Any] = {
        "dataset": str(dataset),
        "output": str(folder / "out"),
        "plan": {
            "spatial_dims": 2,
            "spacing_mm": [1.0] * 2,
            "patch_size": [16] * 2,
            "strides": [[2, 2]],
            "batch_size": 1,
        },
        "space": {
            "base_channels": 2,
            "search_edges": strategy != "scnas",
            "normal_candidates": ["conv3", "2xconv3"],
        },
        "search": {
            "strategy": strategy,
            "epochs": 2,
            "steps_per_epoch": 2,
            "warmup_epochs": 0,
            "validation_cases": 1,
            "alpha_learning_rate": 0.2,
        },
        "choice": {
            "num_measured": 4,
            "population": 2,
            "finetune_steps": 2,
            "budget_shares": [1.0],
            "measure_latency": False,
        },
        "runtime": {"num_threads": 1, "precision": "float32", "num_workers": 0},
    }
    for name, section in changes.items():
        values[name] |= section
    path = folder / "tiny.run.yml"
    path.write_text(yaml.safe_dump(values))
    return path


def outcome(folder: Path) -> Any:
    """All that a search has found, without times."""
    if (folder / "front.json").exists():
        record = FrontRecord.load(folder)
        return record.is_finished, [each.model_dump() for each in record.measured]
    search = SearchRecord.load(folder)
    return search.gates, search.alphas, [entry["default"] for entry in search.history]


@pytest.mark.parametrize("strategy", [*ONE_SHOT, "ronasmis", "evolution", "random", RL])
def test_a_killed_search_goes_on_to_the_same_result(
    strategy: str, tmp_path: Path, demo_set_2d: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    expected = run_search(write_config(whole, demo_set_2d, strategy))
    target, name = {
        **dict.fromkeys(ONE_SHOT, (ResumableDartsModule, "training_step")),
        "ronasmis": (RonasmisModule, "training_step"),
    }.get(strategy, (choosing.Chooser, "_finetuned_dice"))
    step, calls = getattr(target, name), []

    def stop(self: Any, *args: Any) -> Any:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(self, *args)

    config = write_config(stopped, demo_set_2d, strategy)
    with monkeypatch.context() as patched:
        patched.setattr(target, name, stop)
        with pytest.raises(KeyboardInterrupt):
            run_search(config)
    assert not (stopped / "out" / "result.json").exists()
    folder = run_search(config)
    assert outcome(folder) == outcome(expected)
    results = [read_json(each / "result.json") for each in (folder, expected)]
    for result in results:
        assert result.pop("search_minutes") >= 0
    assert results[0] == results[1]
    genotype, _ = export_genotype(folder)
    assert genotype == Genotype.load(folder / "genotype.json")
    assert genotype.provenance["search"]["strategy"] == strategy
    assert (folder / "report.html").exists() and list((folder / "tensorboard").glob("events*"))
    found = read_source(folder)
    assert len(found.searches if strategy in ONE_SHOT else found.fronts) == 1 and not found.all_notes


def test_random_search_measures_networks_within_the_budget(tmp_path: Path, demo_set_2d: Path) -> None:
    budget = {"multiply_adds": 50_000}
    path = write_config(tmp_path, demo_set_2d, "random", choice={"budget_shares": [1.0, 0.75]})
    values = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(values | {"budget": budget}))
    record = FrontRecord.load(run_search(path))
    assert len(record.measured) == 8 and record.spent_s > 0
    for each in record.measured:
        assert each.inherited_dice is None and each.finetuned_dice is not None
        share = each.multiply_adds / (each.budget_share * 50_000)
        assert 0.85 <= share <= 1
    assert len({str(each.genotype) for each in record.measured}) > 4


def test_every_strategy_is_one_kind_or_the_other() -> None:
    assert set(STRATEGIES) == {*BY_GRADIENT, *EXPLORE, "ronasmis"}


def test_rl_without_its_packages_is_one_line(
    tmp_path: Path, demo_set_2d: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strategies.single_path.reinforcement.has_tianshou", False)
    with pytest.raises(UserError, match=r"tianshou and gym; pip install 'uxnet-search\[rl\]', or take"):
        run_search(write_config(tmp_path, demo_set_2d, "rl"))


@pytest.mark.parametrize(
    ("strategy", "changes", "message"),
    [
        (
            "gumble",
            {},
            r"strategy 'gumble' is unknown \(did you mean 'gumbel'\?\); known: sparse-darts, darts",
        ),
        (
            "scnas",
            {"space": {"search_edges": True}},
            "search_edges: scnas searches one operation for each kind of cell, on the U-Net's edges; "
            "set search_edges: false",
        ),
        (
            "darts",
            {"space": {"width_choices": [0.5, 1.0]}},
            "width_choices: darts searches no widths, but operations and edges; use strategy: single-path",
        ),
        (
            "proxyless",
            {"space": {"search_edges": False, "search_blocks": False}},
            "search_blocks and search_edges are both false: proxyless has nothing to search; set one to true",
        ),
        (
            "single-path",
            {"space": {"search_edges": False, "search_blocks": False, "width_choices": [1.0]}},
            "has nothing to search; set one to true, or give several width_choices",
        ),
        (
            "random",
            {"choice": {"finetune_steps": 0}},
            "finetune_steps: random trains every architecture from random weights; give 1 or more",
        ),
    ],
)
def test_what_a_strategy_cannot_search_is_one_line(
    strategy: str, changes: dict[str, Any], message: str, tmp_path: Path, demo_set_2d: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        RunConfig.load(write_config(tmp_path, demo_set_2d, strategy, **changes))
    assert "\n" not in str(caught.value)
