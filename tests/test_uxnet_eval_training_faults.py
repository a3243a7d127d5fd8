"""What stops a training: a loss or gradient that is not finite, a full disk, GPUs that are not there."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from search_space.errors import UserError
from strategies.finite import Diverged
from uxnet_eval.config.plan import Plan
from uxnet_eval.config.training import TrainRuntimeSettings, TrainSettings
from uxnet_eval.recipe.processes import num_devices
from uxnet_eval.training import run as train
from uxnet_eval.training.module import TrainModule
from uxnet_eval.training.reporting import TrainReporter


@pytest.fixture
def config(tmp_path: Path, demo_set: Path) -> Path:
    """A training of seconds: 3 levels, 2 base channels."""
    values = {
        "dataset": str(demo_set),
        "output": str(tmp_path / "out"),
        "plan": {
            "spacing_mm": [1.0, 1.0, 1.0],
            "patch_size": [16, 16, 16],
            "strides": [[2, 2, 2], [2, 2, 2]],
            "batch_size": 1,
        },
        "network": {"base_channels": 2},
        "train": {"epochs": 2, "steps_per_epoch": 2},
        "runtime": {"num_threads": 1, "precision": "float32"},
    }
    path = tmp_path / "tiny.train.run.yml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradient_that_is_not_finite_stops_the_training(
    config: Path, tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is finite; a broken backward pass of one layer spoils the gradient in the second epoch."""
    start = TrainModule.on_train_epoch_start

    def spoil(self: TrainModule) -> None:
        start(self)
        if self.current_epoch == 1:
            first = next(self.network.parameters())
            first.register_hook(lambda gradient: torch.full_like(gradient, value))

    monkeypatch.setattr(TrainModule, "on_train_epoch_start", spoil)
    with pytest.raises(
        UserError,
        match=rf"^{tmp_path / 'out'}: the gradient has norm {value} in epoch 2; stopped\. The last good state stays",
    ):
        train.run_training(config)
    state = torch.load(tmp_path / "out" / "checkpoint.ckpt", weights_only=True)["state_dict"]
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert not (tmp_path / "out" / "result.json").exists()


def test_loss_that_is_not_finite_stops_the_training(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "uxnet_eval.training.module.segmentation_loss", lambda outputs, *_: outputs[0].sum() * torch.inf
    )
    with pytest.raises(
        UserError,
        match=r"the loss is (-?inf|nan) in epoch 1; stopped\. Nothing is saved yet: .*lower learning_rate",
    ):
        train.run_training(config)


def test_gradients_are_shortened_to_the_norm_that_is_set() -> None:
    plan = Plan(spacing_mm=(1, 1), patch_size=(16, 16), strides=((2, 2),), batch_size=1, spatial_dims=2)
    module = TrainModule(
        nn.Linear(2, 1, bias=False),
        plan,
        ("none", "a"),
        TrainSettings(gradient_clip_norm=1.0),
        channels_last=False,
    )
    weight = module.network.weight
    weight.grad = torch.tensor([[3.0, 4.0]])  # norm 5
    module.configure_gradient_clipping(None)
    torch.testing.assert_close(weight.grad, torch.tensor([[0.6, 0.8]]))
    weight.grad = torch.tensor([[float("inf"), 4.0]])
    with pytest.raises(Diverged, match="norm inf"):
        module.configure_gradient_clipping(None)


def test_full_disk_is_one_line(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_up(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TrainReporter, "on_train_epoch_end", fill_up)
    with pytest.raises(
        UserError, match=rf"^{tmp_path / 'out'}: the disk is full; free space, and the same command goes on"
    ):
        train.run_training(config)


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    cuda = torch.device("cuda")
    with pytest.raises(UserError, match=r"devices is 2, but 1 GPUs are visible"):
        num_devices(TrainRuntimeSettings(devices=2), cuda, 4)
    assert num_devices(TrainRuntimeSettings(devices=1), cuda, 4) == 1
    assert num_devices(TrainRuntimeSettings(devices="auto"), cuda, 4) == 1


def test_output_that_cannot_be(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: is a file; give another output folder"):
        train.run_training(config, output=tmp_path / "file")
    with pytest.raises(UserError, match=r"file/below: cannot be made \(Not a directory\)"):
        train.run_training(config, output=tmp_path / "file" / "below")


def test_a_gpu_that_is_not_there_leaves_no_folder(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"cuda was asked for, but PyTorch sees no GPU"):
        train.run_training(config, overrides={"device": "cuda"})
    assert not (tmp_path / "out").exists()


def test_state_of_a_training_that_is_cut_short(
    config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The training goes on from the checkpoint before, to the same weights; without that one it says so."""
    train.run_training(config)
    path, previous = tmp_path / "out" / "checkpoint.ckpt", tmp_path / "out" / "checkpoint.previous.ckpt"
    uncut = torch.load(path, weights_only=True)["state_dict"]
    epoch = torch.load(previous, weights_only=True)["epoch"]
    assert epoch == torch.load(path, weights_only=True)["epoch"] - 1
    (tmp_path / "out" / "result.json").unlink()
    path.write_bytes(path.read_bytes()[:5000])
    train.run_training(config)
    assert "going on from the checkpoint before it" in caplog.text
    resumed = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(uncut[name], resumed[name]) for name in uncut)
    (tmp_path / "out" / "result.json").unlink()
    for each in (path, previous):
        each.write_bytes(each.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"checkpoint\.ckpt: is truncated, damaged or no checkpoint"):
        train.run_training(config)


def test_controls_are_trained_and_compared(config: Path, tmp_path: Path) -> None:
    """From genotype to table: two networks at equal cost, trained for real, side by side."""
    from search_space import presets
    from uxnet_eval.comparison.table import compare
    from uxnet_eval.comparison.trainings import find_trainings

    presets.get("full", 3).save(tmp_path / "genotype.json")
    for name in ("searched", "random:1"):
        train.run_training(
            config,
            output=tmp_path / "runs" / name,
            architecture=name,
            overrides={"genotype": "genotype.json", "parameters": 20_000, "epochs": 1},
        )
    comparison = compare(find_trainings([str(tmp_path / "runs")]))
    assert [row.name for row in comparison.rows] == ["searched", "random genotype 1"]
    assert all(row.parameters == pytest.approx(20_000, rel=0.1) for row in comparison.rows)
    assert set(comparison.rows[0].case_dice.index) == set(comparison.rows[1].case_dice.index)
    # Equal parameters are not equal cost.
    (note,) = comparison.notes
    assert re.fullmatch(r"random genotype 1: has \d\.\d\d times the first row's multiply-adds", note)
