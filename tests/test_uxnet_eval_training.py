"""Training from scratch on tiny data: what it writes, that it continues bit for bit, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from search_space import UserError
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.networks.checkpoint import load_model
from uxnet_eval.training.reporting import TrainReporter
from uxnet_eval.training.run import run_training


def write_config(folder: Path, dataset: Path, **train) -> Path:
    """A training of seconds: 3 levels, 2 base channels."""
    values = {
        "dataset": str(dataset),
        "output": str(folder / "out"),
        "plan": {
            "spacing_mm": [1.0, 1.0, 1.0],
            "patch_size": [16, 16, 16],
            "strides": [[2, 2, 2], [2, 2, 2]],
            "batch_size": 1,
        },
        "network": {"architecture": "preset:unet", "base_channels": 2},
        "train": {"epochs": 3, "steps_per_epoch": 3, "validate_every": 1, **train},
        "runtime": {"num_threads": 1, "precision": "float32"},
    }
    path = folder / "tiny.train.run.yml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, demo_set) -> Path:
    folder = tmp_path_factory.mktemp("train")
    return run_training(write_config(folder, demo_set))


def test_output_holds_weights_scores_and_folds(trained):
    assert {"best.pt", "last.pt", "cases.csv", "summary.json", "result.json", "run.yml"} <= {
        path.name for path in trained.iterdir()
    }
    result = json.loads((trained / "result.json").read_text())
    summary = json.loads((trained / "summary.json").read_text())
    assert result["default"] == pytest.approx(summary["mean_dice"] or 0.0)
    assert result["num_epochs"] in (2, 3) and result["parameters"] > 0


def test_checkpoint_is_enough_to_rebuild_the_network(trained):
    model = load_model(trained / "best.pt", device="cpu")
    assert model.network(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 4, 16, 16, 16)
    assert model.plan.patch_size == (16, 16, 16) and len(model.dataset.class_names) == 4


def test_stopped_training_continues_to_the_same_weights(trained, tmp_path, demo_set, monkeypatch):
    config = write_config(tmp_path, demo_set)
    report = TrainReporter.on_validation_end

    def stop_in_the_second_epoch(self, trainer, module):
        report(self, trainer, module)
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TrainReporter, "on_validation_end", stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            run_training(config)
    continued = run_training(config)
    states = [
        torch.load(folder / "checkpoint.ckpt", weights_only=True)["state_dict"]
        for folder in (trained, continued)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert (trained / "cases.csv").read_text() == (continued / "cases.csv").read_text()


def test_truncated_checkpoint_is_named(trained, tmp_path):
    path = tmp_path / "cut.pt"
    path.write_bytes((trained / "best.pt").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"cut\.pt"):
        load_model(path, device="cpu")


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "pickled.pt"
    torch.save({"network": Path("x")}, path)
    with pytest.raises(UserError, match=r"pickled\.pt"):
        load_model(path, device="cpu")


@pytest.mark.parametrize("architecture", ["preset:unet++", "dynunet", "u-resnet", "segresnet"])
def test_width_follows_a_budget_of_parameters(tmp_path, demo_set, architecture):
    path = write_config(tmp_path, demo_set, epochs=1, steps_per_epoch=1)
    output = run_training(path, architecture=architecture, overrides={"parameters": 60_000})
    # SegResNet's group norm allows multiples of eight channels alone.
    tolerance = 0.25 if architecture == "segresnet" else 0.1
    assert json.loads((output / "result.json").read_text())["parameters"] == pytest.approx(
        60_000, rel=tolerance
    )


def test_fold_that_does_not_exist_is_refused(tmp_path, demo_set):
    with pytest.raises(UserError, match=r"train\.fold is 7"):
        TrainConfig.load(write_config(tmp_path, demo_set)).override({"fold": 7})
