"""The demo's own parts; the whole of it runs in test_wheel.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from search_space.errors import UserError
from uxnet_eval import demo
from uxnet_eval.config.search import RunConfig
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.nni_experiments.shipped import shipped_folder


def write_training(folder: Path, dice: list[float], multiply_adds: int) -> None:
    folder.mkdir(parents=True)
    history = [{"epoch": 10 * (index + 1), "val_dice": value} for index, value in enumerate(dice)]
    (folder / "training.json").write_text(json.dumps({"history": history}))
    result = {"default": max(dice), "multiply_adds": multiply_adds, "parameters": 98_765, "minutes": 1.25}
    (folder / "result.json").write_text(json.dumps(result))


def test_table_shows_both_learning_curves_and_the_cost(tmp_path: Path) -> None:
    write_training(tmp_path / "searched", [0.25, 0.5, 0.75], 400_000_000)
    write_training(tmp_path / "U-Net", [0.125, 0.625, 0.5], 410_000_000)
    console = Console(width=160, record=True)
    console.print(demo._comparison(tmp_path, ["searched", "U-Net"]))
    lines = [line.replace("│", " ").replace("┃", " ").split() for line in console.export_text().splitlines()]
    assert ["searched", "0.250", "0.500", "0.750", "0.750", "0.40", "G", "98,765", "1.2"] in lines
    assert ["U-Net", "0.125", "0.625", "0.500", "0.625", "0.41", "G", "98,765", "1.2"] in lines
    (header,) = [line for line in lines if "network" in line]
    assert header[1:7] == ["epoch", "10", "epoch", "20", "epoch", "30"]


def test_search_and_trainings_read_the_same_data_in_the_same_way() -> None:
    search = RunConfig.load(shipped_folder() / demo.SEARCH)
    training = TrainConfig.load(shipped_folder() / demo.TRAINING)
    assert training.plan == search.plan
    assert training.dataset == search.dataset == demo.DATA
    assert training.network.multiply_adds is not None


def test_quick_settings_are_settings_of_both() -> None:
    search = RunConfig.load(shipped_folder() / demo.SEARCH).override(demo.QUICK)
    training = TrainConfig.load(shipped_folder() / demo.TRAINING).override(demo.QUICK)
    assert search.search.epochs == training.train.epochs == demo.QUICK["epochs"]


def test_failed_training_is_named_with_its_last_line_and_the_other_is_ended(tmp_path: Path) -> None:
    (tmp_path / demo.TRAINING).write_text((shipped_folder() / demo.TRAINING).read_text())  # and no data
    with pytest.raises(
        UserError, match=r"training of U-Net failed: .*demo-data.* was not found .*U-Net\.log"
    ):
        demo._train(tmp_path, tmp_path / "trained", {"U-Net": "preset:unet"}, {})
