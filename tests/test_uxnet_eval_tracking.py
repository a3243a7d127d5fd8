"""Curves in experiment trackers: what is sent, to a real MLflow server too, and what goes wrong."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trained_networks import PLANS

from search_space.errors import UserError
from uxnet_eval.config.search import RunConfig
from uxnet_eval.config.tracking import TrackingSettings
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.recipe import tracking
from uxnet_eval.recipe.tracking import TrackedWriter, Tracker, tracked
from uxnet_eval.search.run import run_search
from uxnet_eval.training.run import run_training

NEEDS_MLFLOW = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is missing: make test-tracking")
NEEDS_WANDB = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is missing: make test-tracking")


def test_events_that_cannot_be_written_are_an_error_and_no_traceback(tmp_path: Path) -> None:
    """TensorBoard writes in a thread. Its fault is the next flush's, and nothing is printed above the one line."""
    script = (
        "import shutil, sys, threading\nfrom pathlib import Path\nfrom uxnet_eval.recipe import quiet\n"
        "from uxnet_eval.recipe.tracking import TrackedWriter\n"
        "quiet.quieten() if sys.argv[2] == 'quiet' else None\n"
        "writer = TrackedWriter(Path(sys.argv[1]))\nshutil.rmtree(sys.argv[1])\n"
        "try:\n    writer.add_scalar('dice', 0.5, 0)\n    writer.close()\n"
        "except FileNotFoundError as error:\n    print('uxnet: error:', error)\n"
        "threading.Thread(target=lambda: 1 / 0).start()\n"
        "[each.join(60) for each in threading.enumerate() if each is not threading.main_thread()]\n"
    )

    def said(how: str) -> tuple[str, str]:
        command = [sys.executable, "-c", script, str(tmp_path / "events"), how]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        return run.stdout, run.stderr

    out, err = said("quiet")
    assert out.startswith("uxnet: error: ") and "events.out.tfevents" in out
    assert "event_file_writer" not in err
    assert "ZeroDivisionError" in err  # a fault of any other thread is shown
    assert "event_file_writer" in said("as it is")[1]


class Recorder:
    """In place of one of Lightning's loggers; may fail from some call on."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fails_at = fails_at

    def _call(self, *call: Any) -> None:
        if self.fails_at is not None and len(self.calls) >= self.fails_at:
            raise ConnectionError("no\nanswer")
        self.calls.append(call)

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self._call("metrics", values, step)

    def log_hyperparams(self, values: dict[str, Any]) -> None:
        self._call("settings", values)

    def finalize(self, status: str) -> None:
        self._call("end", status)


def test_numbers_go_to_tensorboard_and_in_one_request_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(tracking, "_loggers", lambda *_: {"mlflow": recorder})
    with tracked(TrackingSettings(), tmp_path, "x", {"a": 1}, 2) as tracker:
        _write_three_numbers(tmp_path, recorder, tracker)
    assert recorder.calls == [
        ("settings", {"a": 1}),
        ("metrics", {"loss": 1.5, "dice/organ": 0.5}, 0),
        ("metrics", {"loss": 1.0}, 1),
        ("metrics", {"final/default": 0.75}, 2),
        ("end", "success"),
    ]
    TrackedWriter(tmp_path / "other").close()  # of no tracked run
    assert len(recorder.calls) == 5
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(0, 1.5), (1, 1.0)]


def _write_three_numbers(folder: Path, recorder: Recorder, tracker: Tracker) -> None:
    writer = TrackedWriter(folder, purge_step=0)
    writer.add_scalar("loss", 1.5, 0)
    writer.add_scalar("dice/organ", 0.5, 0)
    writer.add_scalar("loss", 1.0, 1)
    assert len(recorder.calls) == 1  # the settings alone
    writer.flush()
    tracker.note_final({"default": 0.75, "architecture": "unet", "stopped_early": False}, 2)
    writer.close()


def test_a_tracker_that_stops_answering_stops_no_run(caplog: pytest.LogCaptureFixture) -> None:
    sound, broken = Recorder(), Recorder(fails_at=1)
    tracker = Tracker({"mlflow": broken, "other": sound})
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            tracker.note("loss", 1.0, step)
            tracker.send()
    tracker.close(is_done=False)
    assert len(broken.calls) == 1
    assert [call[0] for call in sound.calls] == ["metrics"] * 3 + ["end"] and sound.calls[-1][1] == "failed"
    (warning,) = caplog.messages
    assert warning == "mlflow does not answer (no answer); the run goes on without it"


def test_without_trackers_nothing_is_kept() -> None:
    tracker = Tracker()
    tracker.note("loss", 1.0, 0)
    assert tracker._waiting == {}
    tracker.close(is_done=True)


def test_no_password_in_the_folder_of_a_run() -> None:
    with pytest.raises(UserError, match="mlflow: holds a password; set MLFLOW_TRACKING_PASSWORD instead"):
        TrackingSettings.parse({"mlflow": "http://me:secret@host:5000"}, "run.yml: tracking")
    TrackingSettings.parse({"mlflow": "http://me@host:5000"}, "run.yml: tracking")


def training(folder: Path, dataset: Path, trackers: dict[str, str]) -> Path:
    values = {
        "dataset": str(dataset),
        "plan": PLANS[3],
        "tracking": trackers,
        "network": {"architecture": "preset:unet", "base_channels": 2},
        "train": {"epochs": 2, "steps_per_epoch": 2, "validate_every": 1, "validation_cases": 1},
        "runtime": {"precision": "float32", "device": "cpu", "num_workers": 0},
    }
    path = folder / "x.train.run.yml"
    path.write_text(TrainConfig.parse(values, "test").to_yaml())
    return path


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_package_that_is_missing(
    name: str, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    path = training(tmp_path, demo_set, {name: "sqlite:///x.db"})
    with pytest.raises(UserError) as caught:
        run_training(path, output=tmp_path / "out")
    assert str(caught.value) == (
        f"tracking: {name}: needs the package '{name}'; install it with pip install 'uxnet-search[{name}]'"
    )
    assert not (tmp_path / "out").exists()


# ---- a real MLflow server ----


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server on a loopback port, with an SQLite file."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)),
        *("--workers", "1"),
    ]
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(1)
        else:
            pytest.fail((folder / "log").read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the server and its workers: the session is theirs alone
        process.wait()
        log.close()


def runs_of(server: str, experiment: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id]))


def history(server: str, run: Any, name: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    return [
        (each.step, each.value) for each in MlflowClient(server).get_metric_history(run.info.run_id, name)
    ]


@NEEDS_MLFLOW
@pytest.mark.slow
def test_training_and_search_on_a_server(server: str, demo_set: Path, tmp_path: Path) -> None:
    output = run_training(training(tmp_path, demo_set, {"mlflow": server}), output=tmp_path / "first")
    (run,) = runs_of(server, "Demo")
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params["train/epochs"] == "2"
    assert run.data.params["network/architecture"] == "preset:unet"
    validations = json.loads((output / "training.json").read_text())["history"]
    expected = [(entry["epoch"] - 1, pytest.approx(entry["val_dice"])) for entry in validations]
    assert len(expected) == 2 and history(server, run, "dice/mean") == expected
    assert [step for step, _ in history(server, run, "loss")] == [0, 1]
    result = json.loads((output / "result.json").read_text())
    assert history(server, run, "final/default") == [(2, pytest.approx(result["default"]))]
    assert json.loads((output / "tracking.json").read_text()) == {"mlflow": run.info.run_id}
    run_training(tmp_path / "x.train.run.yml", output=output)  # done: nothing starts again
    assert len(runs_of(server, "Demo")) == 1

    values = {
        "dataset": str(demo_set),
        "plan": PLANS[3],
        "tracking": {"mlflow": server},
        "space": {"base_channels": 2},
        "search": {"epochs": 1, "steps_per_epoch": 1, "validation_cases": 1},
        "runtime": {"precision": "float32", "device": "cpu", "num_workers": 0},
    }
    path = tmp_path / "x.run.yml"
    path.write_text(RunConfig.parse(values, "test").to_yaml())
    run_search(path, output=tmp_path / "searched")
    searched = next(each for each in runs_of(server, "Demo") if each.info.run_name == "searched")
    assert searched.info.status == "FINISHED"
    assert {"dice/default", "dice/derived_dice", "loss/weights", "final/edges_kept"} <= set(
        searched.data.metrics
    )


@NEEDS_MLFLOW
def test_a_run_that_goes_on_is_the_same_run(server: str, tmp_path: Path) -> None:
    settings = TrackingSettings(mlflow=server)
    with pytest.raises(KeyboardInterrupt), tracked(settings, tmp_path, "continued", {"a": 1}, 2) as tracker:
        tracker.note("loss", 3.0, 0)
        raise KeyboardInterrupt
    (stopped,) = runs_of(server, "continued")
    assert stopped.info.status == "FAILED"
    with tracked(settings, tmp_path, "continued", {"a": 1}, 2) as tracker:
        (again,) = runs_of(server, "continued")
        assert (again.info.run_id, again.info.status) == (stopped.info.run_id, "RUNNING")
        tracker.note("loss", 2.0, 1)
    (done,) = runs_of(server, "continued")
    assert done.info.status == "FINISHED"
    assert history(server, done, "loss") == [(0, 3.0), (1, 2.0)]


@NEEDS_MLFLOW
def test_server_that_is_not_there(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with (
        pytest.raises(UserError) as caught,
        tracked(TrackingSettings(mlflow=address), tmp_path, "x", {}, 2),
    ):
        pytest.fail("there is no server")
    assert str(caught.value).startswith(f"tracking: mlflow {address} cannot be used (")
    assert str(caught.value).endswith("start it, mend the address, or leave tracking out")
    assert "\n" not in str(caught.value) and not (tmp_path / "tracking.json").exists()


@NEEDS_WANDB
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an account: what would be sent lies in the run's folder."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with tracked(TrackingSettings(wandb="project"), tmp_path, "x", {"a": 1}, 2) as tracker:
        tracker.note("loss", 3.0, 0)
    (stored,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    identity = json.loads((tmp_path / "tracking.json").read_text())["wandb"]
    assert stored.name == f"run-{identity}.wandb" and stored.stat().st_size > 0
    for _ in range(60):  # wandb's own process writes the file
        if b"loss" in stored.read_bytes():
            break
        time.sleep(1)
    assert b"loss" in stored.read_bytes()
