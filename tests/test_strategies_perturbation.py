"""Decisions by perturbation: on a score that is known, and at the end of a real search."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import yaml

from search_space import UserError
from strategies.perturbation import decide_by_perturbation
from uxnet_eval.config.search import RunConfig
from uxnet_eval.runs.search_record import SearchRecord
from uxnet_eval.search.run import run_search


class Layer:
    """A mixed layer of candidates a, b, c with the largest weight on a."""

    names, sampled, chosen = ("a", "b", "c"), None, None

    def weights(self) -> torch.Tensor:
        return torch.tensor([0.5, 0.2, 0.3])

    def has(self, name: str) -> bool:
        if self.chosen is not None:
            return self.chosen == name
        return self.sampled is None or name in self.sampled


class Gate:
    is_open: bool | None = None


def decide(score: Any, layers: dict[str, Layer], gates: dict[str, Gate], seed: int = 0) -> Any:
    return decide_by_perturbation(layers, gates, score, Random(seed))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_the_candidate_that_is_missed_most_is_chosen(seed: int) -> None:
    layers, gates = {"first": Layer(), "second": Layer()}, {"good": Gate(), "bad": Gate(), "idle": Gate()}

    def score() -> float:
        value = (
            0.5 * layers["first"].has("b") + 0.1 * layers["first"].has("a") + 0.2 * layers["second"].has("c")
        )
        return value + 0.3 * (gates["good"].is_open is not False) - 0.3 * (gates["bad"].is_open is not False)

    found = decide(score, layers, gates, seed)
    assert found.operations == {"first": "b", "second": "c"}
    assert found.edges == {"good": True, "bad": False, "idle": False}
    assert found.num_scored == 2 * 3 + 1 + 3
    assert all(layer.sampled is layer.chosen is None for layer in layers.values())
    assert all(gate.is_open is None for gate in gates.values())


def test_alpha_decides_between_candidates_that_nothing_tells_apart() -> None:
    assert decide(lambda: 0.5, {"layer": Layer()}, {}).operations == {"layer": "a"}


def test_an_error_leaves_the_supernet_as_it_was() -> None:
    layers, gates = {"layer": Layer()}, {"edge": Gate()}

    def fail() -> float:
        if gates["edge"].is_open is False:
            raise KeyboardInterrupt
        return 0.5

    with pytest.raises(KeyboardInterrupt):
        decide(fail, layers, gates)
    assert layers["layer"].chosen is None and gates["edge"].is_open is None


def config(folder: Path, dataset: Path, **search: Any) -> Path:
    values = {
        "dataset": str(dataset),
        "output": str(folder / "out"),
        "plan": {
            "spatial_dims": 3,
            "spacing_mm": [1.0] * 3,
            "patch_size": [16] * 3,
            "strides": [[2] * 3] * 2,
            "batch_size": 1,
        },
        "space": {"base_channels": 4, "normal_candidates": ["conv3", "2xconv3"]},
        "search": {
            "epochs": 2,
            "steps_per_epoch": 2,
            "warmup_epochs": 1,
            "validation_cases": 1,
            "commit": False,
            "decide_by": "perturbation",
            **search,
        },
        "runtime": {"num_threads": 1, "precision": "float32"},
    }
    path = folder / "tiny.run.yml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_search_that_decides_by_perturbation(tmp_path: Path, demo_set: Path) -> None:
    folder = run_search(config(tmp_path, demo_set))
    record = SearchRecord.load(folder)
    assert set(record.gates.values()) <= {0.0, 1.0}
    assert all(sorted(weights.values())[-2:] == [0.0, 1.0] for weights in record.alphas.values())
    assert all(0 < gate < 1 for gate in record.history[-1]["gates"].values())  # the curves show the search
    assert record.genotype(0.5) == record.genotype(0.9)
    result = json.loads((folder / "result.json").read_text())
    assert result["decided_gates"] == 1 and result["derived_dice"] == record.scores["derived_dice"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"commit": True}, "set commit: false"), ({"strategy": "darts"}, "use strategy: sparse-darts")],
)
def test_what_cannot_be_decided_so(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        RunConfig.load(config(tmp_path, tmp_path, **changes))
