"""The settings of the strategy: one model, one default each, and the paper's method as a switch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from strategies import SparseDARTS, StrategySettings
from uxnet_eval.commands.search import search
from uxnet_eval.config.search import SearchSettings


def test_run_configuration_takes_every_setting_with_its_default_and_sentence() -> None:
    for name, field in StrategySettings.model_fields.items():
        inherited = SearchSettings.model_fields[name]
        assert (inherited.default, inherited.description) == (field.default, field.description)
        assert field.description and name not in SearchSettings.__annotations__
    assert SparseDARTS().settings == StrategySettings()


def test_the_paper_has_none_of_the_additions() -> None:
    paper = StrategySettings.paper()
    assert not (paper.commit or paper.sample_edges or paper.sample_operations)
    assert (paper.sparsity_schedule, paper.edge_weight, paper.cost_weight) == ("constant", 0.0, 0.0)
    assert paper.final_temperature == 1.0 and paper.prune_threshold == 0.75
    assert StrategySettings.paper(edge_weight=0.5) == paper.model_copy(update={"edge_weight": 0.5})


def test_settings_are_frozen_and_strict() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        StrategySettings().commit = False  # type: ignore[misc]
    with pytest.raises(ValidationError, match=r"unknown key 'sparsity'.*did you mean 'sparsity_weight'"):
        StrategySettings(sparsity=1.0)  # type: ignore[call-arg]


def test_settings_and_phases_need_neither_torch_nor_nni() -> None:
    code = (
        "import sys, strategies.settings, strategies.phases\n"
        "print(*[name for name in ('torch', 'nni') if name in sys.modules])"
    )
    root = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True, timeout=60
    )
    assert run.stdout.strip() == ""


def test_one_switch_searches_as_the_paper_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {}

    def run(config: Path, *, overrides: dict[str, object], **_: object) -> Path:
        given.update(overrides)
        return tmp_path

    monkeypatch.setattr("uxnet_eval.search.run.run_search", run)
    search(tmp_path / "mine.run.yml", settings=["edge_weight=0.5"], paper=True)
    assert StrategySettings(**given) == StrategySettings.paper(edge_weight=0.5)
    given.clear()
    search(tmp_path / "mine.run.yml", settings=["edge_weight=0.5"])
    assert given == {"edge_weight": 0.5}


@pytest.mark.parametrize(
    ("strategy", "given", "rate"),
    [("sparse-darts", None, 3e-3), ("single-path", None, 1e-2), ("single-path", 1e-3, 1e-3)],
)
def test_shared_weights_learn_at_a_larger_rate_by_default(
    strategy: str, given: float | None, rate: float
) -> None:
    assert SearchSettings(strategy=strategy, learning_rate=given).weights_rate == rate
