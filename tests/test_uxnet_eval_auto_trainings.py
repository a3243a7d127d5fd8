"""Trainings of a stage as trials of NNI, with an experiment that is made up."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from search_space import UserError
from tests.auto_runs import planned, tiny_schedule
from uxnet_eval.auto import trainings
from uxnet_eval.auto.progress import OverallProgress, share_of
from uxnet_eval.auto.trainings import Due, run_trainings, run_trial
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.nni_guards import link_tensorboard, next_parameters, only_reporting, trial_output
from uxnet_eval.nni_guards import trial as nni_trial
from uxnet_eval.runs.files import write_json
from uxnet_eval.training.run import TrainingDiverged

PARTS = {"steps": 3.0, "scored": 1.0}


@pytest.fixture
def folder(tmp_path: Path, demo_set: Path) -> Path:
    planned(tmp_path / "run", demo_set, tiny_schedule(demo_set))
    return tmp_path / "run"


@pytest.fixture
def progress(folder: Path) -> OverallProgress:
    record = trainings_record(folder)
    return OverallProgress(record, folder)


def trainings_record(folder: Path) -> Any:
    from uxnet_eval.auto.record import AutoRecord

    record = AutoRecord.load(folder)
    assert record is not None
    return record


@pytest.fixture
def due(folder: Path) -> list[Due]:
    schedule = trainings_record(folder).schedule
    (folder / "train").mkdir()
    return [
        Due(schedule.final_config("U-Net", "preset:unet", fold), folder / "train" / f"unet-fold{fold}")
        for fold in (1, 2, 3)
    ]


def done(each: Due, dice: float) -> None:
    each.folder.mkdir()
    write_json(each.folder / "result.json", {"default": dice})


class Nni:
    """An experiment whose polls are scripted; notes what is launched and stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, polls: list[Callable[[], str]]) -> None:
        self.polls, self.configs, self.stopped = polls, list[Any](), list[str]()
        monkeypatch.setattr(trainings, "POLL_S", 0.0)
        monkeypatch.setattr(trainings, "launch", self.launch)
        monkeypatch.setattr(trainings, "stop", self.stopped.append)
        monkeypatch.setattr(trainings, "find_experiment", self.find)
        monkeypatch.setattr(trainings, "_running", self.running)

    def launch(self, path: Path, experiment_dir: Path) -> Any:
        assert path.parent == experiment_dir
        self.configs.append(yaml.safe_load(path.read_text()))
        return SimpleNamespace(experiment_id="abc", url="http://127.0.0.1:1/?token=secret")

    def running(self, folder: Path, but: str | None = None) -> list[Any]:
        return [] if but == "abc" or not self.configs else [SimpleNamespace(id="abc")]

    def find(self, experiment_id: str) -> Any:
        status = self.polls.pop(0)()
        return SimpleNamespace(
            id=experiment_id, status=status, error="", folder=Path("nni"), trials=lambda: []
        )


def test_those_that_are_left_become_trials_one_after_the_other(
    due: list[Due],
    folder: Path,
    progress: OverallProgress,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done(due[0], 0.5)
    shares: list[float] = []
    monkeypatch.setattr(progress, "advance", shares.append)
    monkeypatch.setattr(trainings, "run_training", None)  # nothing is trained here

    def half() -> str:
        write_json(folder / "train" / "unet-fold2.part.json", {"part": "steps", "share": 0.5})
        return "RUNNING"

    def last() -> str:
        done(due[1], 0.25)
        write_json(folder / "train" / "unet-fold3.part.json", {"part": "scored", "share": 0.5})
        return "RUNNING"

    def end() -> str:
        done(due[2], 0.75)
        return "DONE"

    nni = Nni(monkeypatch, [half, last, end])
    scores = run_trainings(due, folder, progress, PARTS, through_nni="train", keep_page=True)
    assert scores == [0.5, 0.25, 0.75]
    # Three quarters of a training are its steps.
    assert shares == pytest.approx([(1 + 0.375) / 3, (2 + 0.875) / 3, 1.0])
    (config,) = nni.configs
    assert config["searchSpace"]["training"]["_value"] == ["train/unet-fold2", "train/unet-fold3"]
    assert (config["trialConcurrency"], config["maxTrialNumber"]) == (1, 2)
    assert "trialGpuNumber" not in json.dumps(config)
    assert nni.stopped == []  # its page stays
    assert "token=secret" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["dead", "Ctrl-C"])
def test_an_experiment_that_ends_early_is_stopped(
    kind: str, due: list[Due], folder: Path, progress: OverallProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poll() -> str:
        if kind == "dead":
            return "STOPPED"
        raise KeyboardInterrupt

    nni = Nni(monkeypatch, [poll])
    if kind == "dead":
        with pytest.raises(UserError, match="or its manager died, before it was done; the same command goes"):
            run_trainings(due, folder, progress, PARTS, through_nni="train", keep_page=True)
    else:
        with pytest.raises(KeyboardInterrupt):
            run_trainings(due, folder, progress, PARTS, through_nni="train", keep_page=True)
    assert nni.stopped == ["abc"]


def test_a_trial_that_failed_is_tried_here_and_its_fault_is_said(
    due: list[Due], folder: Path, progress: OverallProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end() -> str:
        done(due[0], 0.5)
        done(due[2], 0.5)
        return "DONE"

    def run_training(path: Path, *, output: Path) -> None:
        raise UserError(f"{output}: a fault")

    monkeypatch.setattr(trainings, "run_training", run_training)
    nni = Nni(monkeypatch, [end])
    with pytest.raises(UserError, match="unet-fold2: a fault"):
        run_trainings(due, folder, progress, PARTS, through_nni="choose")
    assert nni.stopped == ["abc"]


def test_one_that_diverges_starts_again_once_at_a_lower_rate(
    due: list[Due], folder: Path, progress: OverallProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    def run_training(path: Path, *, output: Path) -> None:
        rates.append(TrainConfig.load(path).train.learning_rate)
        if len(rates) in (1, 3, 4):  # the first training once, the second twice
            output.mkdir()
            (output / "checkpoint.ckpt").touch()
            raise TrainingDiverged(f"{output}: the loss is nan in epoch 1")
        done(Due(due[0].config, output), 0.5)

    monkeypatch.setattr(trainings, "run_training", run_training)
    with pytest.raises(TrainingDiverged, match="unet-fold2: the loss is nan"):
        run_trainings(due, folder, progress, PARTS)
    assert rates == pytest.approx([0.003, 0.001, 0.003, 0.001])
    with pytest.raises(TrainingDiverged):  # it is at the lower rate now, and is not tried a third time
        monkeypatch.setattr(trainings, "run_training", lambda path, output: run_training(path, output=output))
        rates[:] = [0.0, 0.0]
        shutil.rmtree(due[1].folder)
        run_trainings(due, folder, progress, PARTS)
    assert rates[2:] == pytest.approx([0.001])


def test_one_that_is_left_needs_no_nni(
    due: list[Due], folder: Path, progress: OverallProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(due[0], 0.5)
    done(due[1], 0.5)
    monkeypatch.setattr(trainings, "run_training", lambda path, output: done(due[2], 0.125))
    nni = Nni(monkeypatch, [])
    assert run_trainings(due, folder, progress, PARTS, through_nni="train")[2] == 0.125
    assert nni.configs == []


def test_a_trial_trains_in_the_folder_of_auto_and_tells_how_far_it_is(
    due: list[Due], folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "nni" / "abc" / "environments" / "local-env" / "trials" / "xyz"
    own.mkdir(parents=True)
    for name, value in {
        "NNI_PLATFORM": "local",
        "NNI_TRIAL_JOB_ID": "xyz",
        "NNI_OUTPUT_DIR": str(own),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(trainings, "next_parameters", lambda: {"training": "train/unet-fold2"})
    monkeypatch.setattr("uxnet_eval.training.reporting.report_intermediate", lambda values: values)
    monkeypatch.setattr("uxnet_eval.training.reporting.resume_intermediate_sequence", lambda number: None)
    sent: list[Any] = []
    monkeypatch.setattr("uxnet_eval.training.run.report_final", sent.append)
    (folder / "train" / "unet-fold2.run.yml").write_text(due[1].config.to_yaml())
    run_trial(folder)
    assert due[1].is_done
    assert due[1].share(PARTS) == 1.0
    told = json.loads((folder / "train" / "unet-fold2.part.json").read_text())
    assert told["part"] in PARTS
    assert [each["default"] for each in sent] == [due[1].score]
    # The button of NNI's page finds the curves, and NNI's folder of the trial stays NNI's.
    assert list((tmp_path / "nni" / "abc" / "trials" / "xyz" / "output" / "tensorboard").glob("events*"))
    assert os.listdir(own) == []
    assert trial_output() == own


def test_only_reporting_takes_nothing_from_nni(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nni_trial, "is_nni_trial", lambda: True)
    with only_reporting():
        assert next_parameters() == {}
        assert trial_output() is None
        monkeypatch.setenv("NNI_OUTPUT_DIR", str(tmp_path / "elsewhere" / "a" / "b" / "c"))
        assert link_tensorboard(tmp_path / "run") == tmp_path / "run" / "tensorboard"


def test_auto_trial_by_hand_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only uxnet auto --nni starts this"):
        run_trial(tmp_path)


def test_share_of_a_part_counts_those_before() -> None:
    assert share_of({"a": 1.0, "b": 2.0, "c": 1.0}, "b", 0.5) == pytest.approx(0.5)
    assert share_of({"a": 0.0}, "a", 0.5) == 0.0
