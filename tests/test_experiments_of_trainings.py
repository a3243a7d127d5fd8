"""The experiments that train, compare, select and ablate: what each trial is, equal budgets, safe on any machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from search_space import Genotype
from search_space.presets import unet_edges
from uxnet_eval.architectures.controls import control_genotype
from uxnet_eval.config.contest import CONTENDERS, ContestConfig
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.networks.width import TOLERANCE
from uxnet_eval.nni_guards import check_experiment_config
from uxnet_eval.nni_guards.trial_run import check_search_space
from uxnet_eval.paper_tables.published import ABLATION, COMPARISON

ROOT = Path(__file__).parents[1]
TRAIN = ("hippocampus.train", "hippocampus.compare", "hippocampus.select")
CONTESTS = ("hippocampus.contest", "acdc.contest", "dsb2018.contest")
DATA = ("brain", "heart", "prostate", "isic", "hippocampus", "acdc", "dsb2018")
TABLES = tuple(f"{data}.table{number}" for data in DATA for number in (1, 2))
ON_TWO_CORES = ("hippocampus", "dsb2018")
"""Two folds of these are what two cores do in a few hours."""
NAMES = (*TRAIN, *CONTESTS, *TABLES)
SHARED = ("hippocampus.compare", "hippocampus.select", *CONTESTS)
"""Small enough for two trials at a time, as are the tables of three data sets."""


def experiment(name: str) -> dict:
    return yaml.safe_load((ROOT / "experiments" / f"{name}.yml").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_experiment_is_safe_on_any_machine(name: str) -> None:
    values = experiment(name)
    # With trialGpuNumber, NNI 3.0 hangs on a machine with one GPU.
    assert "trialGpuNumber" not in values and values["trainingService"] == {"platform": "local"}
    is_small = name in SHARED or (name in TABLES and name.startswith(("hippocampus", "acdc", "dsb2018")))
    assert values["trialConcurrency"] == (2 if is_small else 1)
    assert values["trialCodeDirectory"] == ".."


@pytest.mark.parametrize("name", CONTESTS)
def test_a_contest_has_every_contender_at_equal_terms(name: str) -> None:
    values, run = experiment(name), ContestConfig.load(ROOT / "experiments" / f"{name}.run.yml")
    assert values["trialCommand"].endswith(f"uxnet_eval.cli contest --config experiments/{name}.run.yml")
    check_search_space(values["searchSpace"], run, name)
    assert set(values["searchSpace"]) == {"seed", "outer_fold", "contender"}
    left_out = {"gates", "perturbation"}  # tries on the way, not controls
    left_out |= {"paper-sbb", "paper-mssa", "paper-tau-0.60", "paper-tau-0.90", "u-resnet", "unet++"}
    left_out |= {"res-unet", "dla", "scnas", "ronasmis"}
    assert set(values["searchSpace"]["contender"]["_value"]) == set(CONTENDERS) - left_out
    assert len(values["searchSpace"]["seed"]["_value"]) >= 3
    assert len(values["searchSpace"]["outer_fold"]["_value"]) >= 2
    assert run.choice.num_measured >= run.contest.proposals


@pytest.mark.parametrize("name", TRAIN)
def test_every_value_of_the_search_space_is_allowed(name: str) -> None:
    values, run = experiment(name), TrainConfig.load(ROOT / "experiments" / f"{name}.run.yml")
    assert values["trialCommand"].endswith(f"uxnet_eval.cli train --config experiments/{name}.run.yml")
    check_search_space(values["searchSpace"], run, name)


def test_the_comparison_holds_every_control_at_equal_budget() -> None:
    space = experiment("hippocampus.compare")["searchSpace"]
    assert set(space) == {"architecture", "fold", "seed"}  # so that steps and parameters are the same for all
    names = space["architecture"]["_value"]
    assert {"searched", "preset:unet", "preset:unet++", "monai-unet++", "dynunet", "all-edges"} <= set(names)
    assert {"random:0", "random:1", "random:2"} <= set(names)
    assert len(space["seed"]["_value"]) >= 2
    run = TrainConfig.load(ROOT / "experiments" / "hippocampus.compare.run.yml")
    assert run.network.parameters is not None and run.train.patience is None
    # The searched genotype has the U-Net's edges, so its parts are compared in one whose edges were searched as well.
    assert run.network.genotype is not None
    assert set(Genotype.load(ROOT / run.network.genotype).edges) == unet_edges(4)
    both, *parts = (Genotype.load(ROOT / name) for name in names if "both-seed-0" in name)
    assert parts == [control_genotype(name, both, 3) for name in ("searched-edges", "searched-operations")]


@pytest.mark.parametrize("name", ["hippocampus.compare", "hippocampus.select"])
def test_it_starts_as_it_stands(name: str, hippocampus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and genotypes are there, and NNI knows the tuner and the assessor."""
    monkeypatch.setenv("UXNET_DATA", str(hippocampus.parent))
    check_experiment_config(ROOT / "experiments" / f"{name}.yml")


@pytest.mark.slow
def test_networks_of_the_comparison_have_like_parameter_counts(
    hippocampus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uxnet_eval.training.preparation import prepare

    monkeypatch.setenv("UXNET_DATA", str(hippocampus.parent))
    monkeypatch.chdir(ROOT)
    run = TrainConfig.load(ROOT / "experiments" / "hippocampus.compare.run.yml")
    for name in experiment("hippocampus.compare")["searchSpace"]["architecture"]["_value"]:
        training = prepare(run.override({"architecture": name}), tmp_path, ROOT / "experiments")
        assert training.cost.parameters == pytest.approx(run.network.parameters, rel=TOLERANCE), name


def test_the_selection_can_be_assessed() -> None:
    """A result after every epoch, of which NNI's assessor needs some before it may stop a trial."""
    assessor = experiment("hippocampus.select")["assessor"]
    run = TrainConfig.load(ROOT / "experiments" / "hippocampus.select.run.yml")
    assert assessor["name"] == "Medianstop" and assessor["classArgs"]["optimize_mode"] == "maximize"
    assert run.train.validate_every == 1 and assessor["classArgs"]["start_step"] < run.train.epochs / 2
    compared = experiment("hippocampus.compare")["searchSpace"]["fold"]["_value"]
    assert run.train.fold not in compared  # what is chosen by a fold must not be judged by it


def test_nni_stops_a_trial_below_the_median() -> None:
    """NNI's own assessor on the results that a training sends (dictionaries with ``default``)."""
    from nni.algorithms.hpo.medianstop_assessor import MedianstopAssessor
    from nni.assessor import AssessResult

    assessor = MedianstopAssessor(**experiment("hippocampus.select")["assessor"]["classArgs"])
    good, bad = (
        [{"default": value, "loss": 1.0} for value in row] for row in ((0.6, 0.7, 0.8), (0.1, 0.2, 0.3))
    )
    for step in (1, 2, 3):
        assert assessor.assess_trial("good", good[:step]) is AssessResult.Good
    assessor.trial_end("good", True)
    assert assessor.assess_trial("bad", bad[:2]) is AssessResult.Good  # too early to tell
    assert assessor.assess_trial("bad", bad) is AssessResult.Bad  # 0.3 against a mean of 0.7
    assert assessor.assess_trial("as good", good) is AssessResult.Good


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_papers_rows_and_all_folds(name: str) -> None:
    data, number = name.split(".table")
    values, run = experiment(name), ContestConfig.load(ROOT / "experiments" / f"{data}.table.run.yml")
    assert values["trialCommand"].endswith(
        f"uxnet_eval.cli contest --config experiments/{data}.table.run.yml"
    )
    check_search_space(values["searchSpace"], run, name)
    folds = [0] if data in ON_TWO_CORES else [0, 1, 2, 3, 4]
    assert values["searchSpace"]["outer_fold"]["_value"] == folds
    contenders = values["searchSpace"]["contender"]["_value"]
    paper = ABLATION if number == "1" else COMPARISON
    rows = {row.contender for row in paper.rows} & set(CONTENDERS)
    assert rows <= set(contenders) and contenders[0] == "unet"
    if number == "1":
        assert set(contenders) == rows
    assert run.contest.proposals == 1  # the network that the search found, without a choice by trainings
    assert "multiply_adds" not in values["searchSpace"] and run.budget.multiply_adds is None  # the U-Net's


def test_each_table_names_its_own_command() -> None:
    for name in TABLES:
        text = (ROOT / "experiments" / f"{name}.yml").read_text()
        data = name.split(".")[0]
        assert f"# uxnet launch experiments/{name}.yml --wait --table tables/{data}\n" in text
