"""The main job as a user runs it: an NNI experiment of real searches, its export, and the network of the JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from search_space import Genotype, SearchSpaceConfig, UXNet
from search_space.grid import Grid
from uxnet_eval.nni_experiments.launch import stop
from uxnet_eval.nni_experiments.records import find_experiment

pytestmark = pytest.mark.slow

RUN = {
    "plan": {
        "spacing_mm": [1.0, 1.0, 1.0],
        "patch_size": [16, 16, 16],
        "strides": [[2, 2, 2], [2, 2, 2]],
        "batch_size": 1,
    },
    "space": {"base_channels": 2},
    "search": {
        "epochs": 2,
        "steps_per_epoch": 2,
        "warmup_epochs": 0,
        "validation_cases": 2,
        "beta_learning_rate": 0.8,
    },
    "runtime": {"num_threads": 1},
}


def uxnet(*arguments: str | Path) -> str:
    """What the command prints; fails the test with its errors if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "uxnet_eval.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, demo_set):
    """A finished experiment of two trials that differ in their seed; its web UI still runs."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "tiny.run.yml").write_text(yaml.safe_dump({"dataset": str(demo_set), **RUN}))
    (folder / "tiny.yml").write_text(
        yaml.safe_dump(
            {
                "experimentName": "tiny",
                "trialCommand": f"{sys.executable} -m uxnet_eval.cli search --config {folder}/tiny.run.yml",
                "trialCodeDirectory": str(Path(__file__).resolve().parents[1]),
                "trialConcurrency": 2,
                "maxTrialNumber": 2,
                "searchSpace": {"seed": {"_type": "choice", "_value": [3, 4]}},
                "tuner": {"name": "GridSearch"},
                "trainingService": {"platform": "local"},
            }
        )
    )
    printed = uxnet("launch", folder / "tiny.yml", "--wait", "--experiment-dir", folder / "nni")
    found = re.search(r"experiment: +(\w+)", printed)
    assert found, printed
    yield find_experiment(found[1])
    stop(found[1])


def test_every_trial_ran_its_own_parameters_to_the_end(experiment):
    trials = experiment.trials()
    assert [trial.status for trial in trials] == ["SUCCEEDED"] * 2
    assert sorted(trial.parameters["seed"] for trial in trials) == [3, 4]
    for trial in trials:
        ran = yaml.safe_load((trial.output / "run.yml").read_text())
        assert ran["search"]["seed"] == trial.parameters["seed"]
        assert set(trial.final) == {
            "default",
            "derived_dice",
            "edges_kept",
            "decided_gates",
            "parameters",
        }


def test_every_validation_reports_every_edge(experiment):
    edges = {str(edge) for edge in Grid(3).edges}
    for trial in experiment.trials():
        points = experiment.intermediates(trial.id)
        assert len(points) == 2
        assert all(set(point) == edges | {"default", "derived_dice"} for point in points)
        recorded = json.loads((trial.output / "search.json").read_text())
        assert points[-1]["N0.0-N1.0"] == pytest.approx(recorded["gates"]["N0.0-N1.0"])


def test_tensorboard_events_lie_where_the_web_ui_looks(experiment):
    for trial in experiment.trials():
        assert list((experiment.folder / "trials" / trial.id / "output" / "tensorboard").glob("events*"))


def test_exported_genotype_is_that_of_the_best_trial_and_builds_a_network(experiment, tmp_path):
    uxnet("export", experiment.id, "-o", tmp_path / "genotype.json", "--prune-threshold", "0.6")
    genotype = Genotype.load(tmp_path / "genotype.json")
    best = max(experiment.trials(), key=lambda trial: trial.final["default"])
    assert genotype.provenance["trial_id"] == best.id
    assert genotype == Genotype.load(best.output / "genotypes" / "tau-0.60.json")
    network = UXNet(SearchSpaceConfig(levels=3, base_channels=4, num_classes=4), genotype)
    assert network(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 4, 8, 8, 8)
    uxnet("draw", tmp_path / "genotype.json", "-o", tmp_path / "architecture.png")
    assert (tmp_path / "architecture.png").stat().st_size > 10_000
