"""After a run has diverged: its last good state begins another run; and a start that failed blocks nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from search_space.errors import UserError
from strategies.finite import Diverged
from uxnet_eval.recipe.checkpoint_files import SafeCheckpointIO
from uxnet_eval.recipe.continuation import MAY_CHANGE
from uxnet_eval.search.run import run_search
from uxnet_eval.training import run as train
from uxnet_eval.training.module import TrainModule

PLAN = {
    "spacing_mm": [1.0, 1.0, 1.0],
    "patch_size": [16, 16, 16],
    "strides": [[2, 2, 2], [2, 2, 2]],
    "batch_size": 1,
}
RUNTIME = {"num_threads": 1, "precision": "float32", "num_workers": 0}


@pytest.fixture
def training(tmp_path: Path, demo_set: Path) -> Path:
    values = {
        "dataset": str(demo_set),
        "plan": PLAN,
        "network": {"base_channels": 2},
        "train": {"epochs": 3, "steps_per_epoch": 2, "validate_every": 1},
        "runtime": RUNTIME,
    }
    path = tmp_path / "tiny.train.run.yml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def search(tmp_path: Path, demo_set: Path) -> Path:
    values = {
        "dataset": str(demo_set),
        "plan": PLAN,
        "space": {"base_channels": 2},
        "search": {"epochs": 3, "steps_per_epoch": 2, "warmup_epochs": 1, "validation_cases": 2},
        "runtime": RUNTIME,
    }
    path = tmp_path / "tiny.run.yml"
    path.write_text(yaml.safe_dump(values))
    return path


def state(folder: Path, name: str = "checkpoint.ckpt") -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


@pytest.fixture
def diverges(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The gradient of the third epoch is NaN as long as the learning rate is the default."""
    start = TrainModule.on_train_epoch_start

    def spoil(self: TrainModule) -> None:
        start(self)
        if self.current_epoch == 2 and self.settings.learning_rate == 3e-3:
            next(self.network.parameters()).register_hook(lambda gradient: gradient * torch.nan)

    monkeypatch.setattr(TrainModule, "on_train_epoch_start", spoil)
    return monkeypatch


@pytest.mark.usefixtures("diverges")
def test_a_training_goes_on_from_its_last_good_state_with_a_lower_learning_rate(
    training: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(UserError, match=rf"epoch 3; stopped\. .*--from-checkpoint {first}/checkpoint\.ckpt"):
        train.run_training(training, output=first)
    before = state(first)
    given = {"output": second, "overrides": {"learning_rate": 1e-3, "weight_decay": 0.1, "patience": 5}}
    train.run_training(training, **given, from_checkpoint=first / "checkpoint.ckpt")
    after = state(second)
    assert (before["epoch"], after["epoch"]) == (1, 2)
    [optimizer], [schedule] = after["optimizer_states"], after["lr_schedulers"]
    [group] = optimizer["param_groups"]
    assert (group["initial_lr"], group["weight_decay"]) == (1e-3, 0.1)
    assert schedule["base_lrs"] == [1e-3] and 0 <= schedule["_last_lr"][0] < 1e-3
    history = after["callbacks"]["TrainReporter"]["history"]
    assert history[:2] == before["callbacks"]["TrainReporter"]["history"] and len(history) == 3
    assert (second / "best.pt").is_file() and (second / "result.json").is_file()
    # The same command again, and without the option, finds the run done; another source is refused.
    for source in (first / "checkpoint.ckpt", None):
        train.run_training(training, **given, from_checkpoint=source)
    with pytest.raises(
        UserError, match=r"has begun from .*first/checkpoint\.ckpt; give another output folder"
    ):
        train.run_training(training, **given, from_checkpoint=first / "checkpoint.previous.ckpt")


def test_with_the_same_settings_nothing_differs_from_a_run_that_went_on(
    training: Path, tmp_path: Path
) -> None:
    train.run_training(training, output=tmp_path / "whole")
    source = tmp_path / "whole" / "checkpoint.previous.ckpt"
    train.run_training(training, output=tmp_path / "begun", from_checkpoint=source)
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(state(tmp_path / "whole")[key], state(tmp_path / "begun")[key])


def test_so_does_a_search(search: Path, tmp_path: Path) -> None:
    whole = run_search(search, output=tmp_path / "whole")
    begun = run_search(search, output=tmp_path / "begun", from_checkpoint=whole / "checkpoint.previous.ckpt")
    for key in ("state_dict", "optimizer_states"):
        assert same(state(whole)[key], state(begun)[key])
    slower = run_search(
        search,
        output=tmp_path / "slower",
        overrides={"learning_rate": 1e-4, "alpha_learning_rate": 1e-4},
        from_checkpoint=whole / "checkpoint.previous.ckpt",
    )
    rates = {
        group["initial_lr"]
        for each in state(slower)["optimizer_states"]
        for group in each["param_groups"]
        if "initial_lr" in group
    }
    assert rates == {1e-4}
    assert not same(state(whole)["state_dict"], state(slower)["state_dict"])


def test_what_cannot_begin_a_run_is_one_line(training: Path, tmp_path: Path) -> None:
    first = train.run_training(training, output=tmp_path / "first", overrides={"epochs": 1})
    source = first / "checkpoint.ckpt"

    def begin(name: str, path: Path, **overrides: Any) -> None:
        train.run_training(training, output=tmp_path / name, overrides=overrides, from_checkpoint=path)

    with pytest.raises(UserError, match=r"other values of network\.base_channels, train\.steps_per_epoch; "):
        begin("a", source, base_channels=4, steps_per_epoch=3)
    with pytest.raises(UserError, match=r"best\.pt: is no state of a run; give the checkpoint of a run"):
        begin("b", first / "best.pt")
    with pytest.raises(UserError, match=r"run\.yml: the configuration of the run is needed beside"):
        begin("c", tmp_path / "absent" / "checkpoint.ckpt")
    spoilt = torch.load(source, weights_only=True)
    next(iter(spoilt["state_dict"].values())).view(-1)[0] = torch.inf
    torch.save(spoilt, first / "spoilt.ckpt")
    with pytest.raises(
        UserError, match=r"its weights are not finite \(network\..*\); give the checkpoint before"
    ):
        begin("d", first / "spoilt.ckpt")
    # None of these has taken the folder: the right command follows.
    begin("a", source)
    assert (tmp_path / "a" / "result.json").is_file()
    assert "learning_rate" in MAY_CHANGE and "steps_per_epoch" not in MAY_CHANGE


def test_a_state_that_is_not_finite_does_not_replace_the_last_good_one(tmp_path: Path) -> None:
    good = {"epoch": 0, "state_dict": {"weight": torch.zeros(2), "count": torch.tensor(1)}}
    writer = SafeCheckpointIO()
    writer.save_checkpoint(good, tmp_path / "checkpoint.ckpt")
    bad = {"epoch": 4, "state_dict": {"weight": torch.tensor([0.0, torch.nan])}}
    with pytest.raises(Diverged, match="the weights of weight are not finite in epoch 5"):
        writer.save_checkpoint(bad, tmp_path / "checkpoint.ckpt")
    assert same(state(tmp_path), good)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.ckpt"]


@pytest.mark.parametrize("kind", ["training", "search"])
def test_a_start_that_failed_does_not_block_the_corrected_command(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = request.getfixturevalue(kind), tmp_path / "out"
    run = train.run_training if kind == "training" else run_search

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(f"uxnet_eval.{kind}.run.pl.seed_everything", fail)
        with pytest.raises(RuntimeError):
            run(config, output=folder)
    assert (folder / "run.yml").is_file() and not (folder / "checkpoint.ckpt").exists()
    run(
        config,
        output=folder,
        overrides={"seed": 7, "epochs": 1, **({} if kind == "training" else {"warmup_epochs": 0})},
    )
    kept = yaml.safe_load((folder / "run.yml").read_text())
    assert kept["train" if kind == "training" else "search"]["seed"] == 7
    with pytest.raises(UserError, match=r"holds another run, with other values of (train|search)\.seed"):
        run(
            config,
            output=folder,
            overrides={"seed": 8, "epochs": 1, **({} if kind == "training" else {"warmup_epochs": 0})},
        )
