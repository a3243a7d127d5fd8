"""The commands of a report that take its runs to other tools."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from search_runs import made_up_run
from typer.main import get_command

from search_space import presets
from uxnet_eval import cli
from uxnet_eval.report import read_source
from uxnet_eval.report.elsewhere import export_commands
from uxnet_eval.report.page import page_data
from uxnet_eval.runs.files import write_json


def made_up_training(folder: Path, dice: float | None) -> None:
    folder.mkdir(parents=True)
    history = [{"epoch": 2, "loss": 0.5, "val_dice": 0.5, "class_dice": {"organ": 0.5}}]
    write_json(folder / "training.json", {"history": history})
    presets.get("unet", 3).save(folder / "genotype.json")
    if dice is not None:
        write_json(folder / "result.json", {"default": dice, "architecture": "genotype.json"})


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "my runs"
    made_up_run(folder / "found", levels=3, num_epochs=2, seed=0, finished=True)
    for name, dice in (("poor", 0.5), ("good", 0.75), ("running", None)):
        made_up_training(folder / name, dice)
    return folder


def test_the_best_runs_go_elsewhere_by_commands_that_exist(runs: Path) -> None:
    commands = export_commands(read_source(str(runs)))
    assert [where for where, _ in commands] == [
        "a genotype to train",
        "nnU-Net v2",
        "MONAI bundle",
        "ONNX",
        "PyTorch alone",
        "DICOM",
        "nnU-Net v2, with weights",
    ]
    for where, text in commands:
        program, name, *arguments = shlex.split(text)
        assert program == "uxnet"
        get_command(cli.app).commands[name].make_context(name, list(arguments))  # else an option is unknown
        source = (
            str(runs / "found")
            if where in ("a genotype to train", "nnU-Net v2")
            else str(runs / "good/best.pt")
        )
        assert source in arguments
    assert page_data(read_source(str(runs)))["exports"] == commands


def test_a_run_that_is_not_finished_goes_nowhere(tmp_path: Path) -> None:
    made_up_training(tmp_path / "running", None)
    assert export_commands(read_source(str(tmp_path))) == []
