"""The experiments: NNI accepts each, and every parameter it varies is a setting of the run beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from uxnet_eval.config.search import RunConfig

ROOT = Path(__file__).parents[1]
FRONTS = ("hippocampus.front", "acdc.front", "dsb2018.front")
NAMES = ("acdc", "brain", "demo", "dsb2018", "heart", "hippocampus", "isic", "prostate", *FRONTS)
ON_CPU = ("acdc", "demo", "dsb2018", "hippocampus", *FRONTS)
"""Small enough to share a GPU, or two cores."""


def values_in(node: object) -> list[str]:
    """Every key and value below ``node``, as text."""
    if isinstance(node, dict):
        return [text for key, value in node.items() for text in [str(key), *values_in(value)]]
    if isinstance(node, list):
        return [text for value in node for text in values_in(value)]
    return [str(node)]


def test_experiments_come_in_pairs() -> None:
    found = {path.name for path in (ROOT / "experiments").iterdir()}
    assert found >= {f"{name}{ending}" for name in NAMES for ending in (".yml", ".run.yml")}


@pytest.mark.parametrize("name", NAMES)
def test_nni_accepts_the_experiment(name: str) -> None:
    from nni.experiment.config import ExperimentConfig

    config = ExperimentConfig.load(ROOT / "experiments" / f"{name}.yml").canonical_copy()
    assert Path(config.trial_code_directory) == ROOT
    assert config.trial_command.endswith(f"-m uxnet_eval.cli search --config experiments/{name}.run.yml")


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_the_search_space_is_allowed(name: str) -> None:
    experiment = yaml.safe_load((ROOT / "experiments" / f"{name}.yml").read_text())
    run = RunConfig.load(ROOT / "experiments" / f"{name}.run.yml")
    num_choices = 1
    for parameter, choice in experiment["searchSpace"].items():
        assert choice["_type"] == "choice"
        num_choices *= len(choice["_value"])
        for value in choice["_value"]:
            changed = run.override({parameter: value})
            section = changed.space if parameter in type(changed.space).model_fields else changed.search
            assert getattr(section, parameter) == value
    assert experiment["maxTrialNumber"] <= num_choices


@pytest.mark.parametrize("name", NAMES)
def test_experiment_is_safe_on_any_machine(name: str) -> None:
    experiment = yaml.safe_load((ROOT / "experiments" / f"{name}.yml").read_text())
    # With trialGpuNumber, NNI 3.0 hangs on a machine with one GPU.
    assert "trialGpuNumber" not in experiment and "trialGpuNumber" not in experiment["trainingService"]
    assert experiment["trialConcurrency"] == (2 if name in ON_CPU else 1)
    # NNI's JSON reader takes these for the beginning of a comment.
    assert not [text for text in values_in(experiment) if "#" in text or "//" in text]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "demo"])
def test_every_search_leaves_a_fold_for_trainings_to_judge_by(name: str) -> None:
    run = RunConfig.load(ROOT / "experiments" / f"{name}.run.yml")
    assert run.search.left_out_fold == 0 and run.search.validation_fold != 0
