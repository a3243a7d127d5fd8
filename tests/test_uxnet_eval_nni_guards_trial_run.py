"""The search space against the run that trials start: tuner Batch, and files that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search_space import presets
from search_space.errors import UserError
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.nni_guards.trial_run import TrialRun, check_named_files, check_search_space

PLAN = {
    "spacing_mm": (1, 1, 1),
    "patch_size": (16, 16, 16),
    "strides": ((2, 2, 2), (2, 2, 2)),
    "batch_size": 1,
}


@pytest.fixture
def run(tmp_path: Path) -> TrialRun:
    (tmp_path / "data").mkdir()
    presets.get("unet", 3).save(tmp_path / "g.json")
    return TrialRun(TrainConfig(dataset="data", plan=PLAN), tmp_path, tmp_path)


def batch(*sets: Any) -> dict[str, Any]:
    return {"combine_params": {"_type": "choice", "_value": list(sets)}}


def test_nni_itself_takes_the_parameter_sets_as_they_are() -> None:
    from nni.algorithms.hpo.batch_tuner import BatchTuner

    tuner = BatchTuner()
    tuner.update_search_space(batch({"seed": 1, "fold": 2}, {"seed": 3}))
    assert [tuner.generate_parameters(i) for i in range(2)] == [{"seed": 1, "fold": 2}, {"seed": 3}]


def test_each_set_must_fit_the_run(run: TrialRun) -> None:
    check_search_space(
        batch({"seed": 1, "fold": 2}, {"architecture": "dynunet"}), run.config, "x.yml", "Batch"
    )
    with pytest.raises(
        UserError, match=r"^x\.yml: search space: unknown parameter 'folds' \(did you mean 'fold'"
    ):
        check_search_space(batch({"seed": 1}, {"folds": 2}), run.config, "x.yml", "Batch")


@pytest.mark.parametrize(
    "space",
    [
        {},
        {"seed": {"_type": "choice", "_value": [1]}},
        {"a": {"_type": "randint", "_value": [0, 3]}},
        batch(),
    ],
)
def test_batch_without_sets(run: TrialRun, space: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=r"of tuner Batch is one list of parameter sets, such as combine_params"
    ):
        check_search_space(space, run.config, "x.yml", "Batch")


def test_sets_are_for_batch_alone(run: TrialRun) -> None:
    with pytest.raises(UserError, match=r"should only contain numbers or strings"):
        check_search_space(batch({"seed": 1}), run.config, "x.yml", "GridSearch")


@pytest.mark.parametrize("tuner", ["Batch", "GridSearch"])
def test_genotypes_that_are_named_must_be_there(run: TrialRun, tuner: str) -> None:
    def space(*names: str) -> dict[str, Any]:
        if tuner == "Batch":
            return batch(*({"architecture": name} for name in names))
        return {"architecture": {"_type": "choice", "_value": list(names)}}

    check_named_files(space("g.json", "preset:unet", "dynunet"), run, "x.yml", tuner)
    with pytest.raises(UserError, match=r"^x\.yml: search space: h\.json: cannot be read"):
        check_named_files(space("g.json", "h.json"), run, "x.yml", tuner)
    with pytest.raises(UserError, match=r"'searched' is made from a searched genotype; set genotype"):
        check_named_files(space("searched"), run, "x.yml", tuner)
