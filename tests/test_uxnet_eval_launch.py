"""Real experiments through nnictl (slow): toy trials that train nothing, all of them stopped at the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml

from search_space.errors import UserError
from uxnet_eval.nni_experiments import nnictl, ports
from uxnet_eval.nni_experiments.launch import Launched, launch, resume, stop, wait_until_done
from uxnet_eval.nni_experiments.progress import best_score, has_ended, time_left
from uxnet_eval.nni_experiments.records import ExperimentRecord, TrialRecord, find_experiment

ROOT = Path(__file__).parents[1]
PORTS = range(18110, 18200)

# The first trial asks for its parameters only after the second one has got some.
UNGUARDED_TRIAL = """
import os, pathlib, time, nni
first, second_asked = os.environ["NNI_TRIAL_SEQ_ID"] == "0", pathlib.Path("second_asked")
while first and not second_asked.exists():
    time.sleep(0.1)
parameters = nni.get_next_parameter()
second_asked.touch()
nni.report_final_result({"default": parameters["seed"] / 10})
"""
GUARDED_TRIAL = """
import os, pathlib, time
from uxnet_eval.nni_guards import link_tensorboard, next_parameters, report_final, report_intermediate
first, second_asked = os.environ["NNI_TRIAL_SEQ_ID"] == "0", pathlib.Path("second_asked")
while first and not second_asked.exists():
    time.sleep(0.1)
parameters = next_parameters()
second_asked.touch()
(link_tensorboard(os.environ["NNI_OUTPUT_DIR"]) / "events").write_text(os.environ["NNI_TRIAL_JOB_ID"])
report_intermediate({"default": 0.0, "N0.0-N0.1": 0.5})
report_final({"default": parameters["seed"] / 10, "derived_dice": 0.5})
"""
# The first process of the trial outlives its manager; the second one must wait until it has ended.
RESUMED_TRIAL = """
import os, pathlib, time
from uxnet_eval.nni_guards import TrialLock, next_parameters, report_final, report_intermediate
from uxnet_eval.nni_guards import resume_intermediate_sequence
output = pathlib.Path(os.environ["NNI_OUTPUT_DIR"])
with TrialLock(output, wait_s=60):
    parameters = next_parameters()
    if parameters["seed"] == 7:
        report_final({"default": 0.7})
    elif not (output / "checkpoint").exists():
        report_intermediate({"default": 0.1})
        (output / "checkpoint").write_text(str(parameters["seed"]))
        deadline = time.time() + 120
        while not (output / "end_orphan").exists() and time.time() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        (output / "orphan_ended").write_text(str(time.time()))
    else:
        (output / "resumed").write_text(str(time.time()))
        resume_intermediate_sequence(1)
        report_intermediate({"default": 0.2})
        report_final({"default": 0.3, "same": int(str(parameters["seed"]) == (output / "checkpoint").read_text())})
"""


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Launched]]:
    """Three experiments, started one after another and running at once; stopped at the end, to the last process."""
    trials = {"guarded": (GUARDED_TRIAL, 2), "unguarded": (UNGUARDED_TRIAL, 2), "resumed": (RESUMED_TRIAL, 1)}
    """By name: the program, and how many run at once; there are two of each."""
    started: dict[str, Launched] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # where NNI keeps its list of experiments
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setattr(ports, "FIRST_PORT", PORTS.start)
        try:
            for name, (trial, num_at_once) in trials.items():
                folder = tmp_path_factory.mktemp(name)
                (folder / "trial.py").write_text(trial)
                config = _write_config(folder, num_at_once)
                started[name] = launch(config, experiment_dir=folder / "experiments")
            yield started
        finally:
            ids = [each.experiment_id for each in started.values()]
            with ThreadPoolExecutor() as pool:
                list(pool.map(stop, ids))
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if set(ids) & set(process.info["cmdline"] or ())
    ]
    assert left == []


def _write_config(folder: Path, num_at_once: int) -> Path:
    file = folder / "toy.yml"
    values = {
        "searchSpace": {"seed": {"_type": "choice", "_value": [3, 7]}},
        "trialCommand": "python trial.py",
        "trialConcurrency": num_at_once,
        "maxTrialNumber": 2,
        "tuner": {"name": "GridSearch"},  # never the same parameters twice
        "trainingService": {"platform": "local"},
    }
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.fixture(scope="module")
def pair(toys: dict[str, Launched]) -> dict[str, ExperimentRecord]:
    """The experiment with and the one without the guard of the parameters, both done."""
    return {name: wait_until_done(toys[name].experiment_id, poll_s=0.5) for name in ("guarded", "unguarded")}


@pytest.mark.slow
def test_trials_run_the_parameters_that_nni_recorded_for_them(
    pair: dict[str, ExperimentRecord], caplog: pytest.LogCaptureFixture
) -> None:
    guarded = pair["guarded"].trials()
    assert [trial.status for trial in guarded] == ["SUCCEEDED", "SUCCEEDED"]
    assert sorted(trial.parameters["seed"] for trial in guarded) == [3, 7]
    for trial in guarded:
        assert trial.final == {"default": trial.parameters["seed"] / 10, "derived_dice": 0.5}
    assert "do not trust" not in caplog.text  # results bear the record's parameter_id too


@pytest.mark.slow
def test_without_the_guard_nni_swaps_them(
    pair: dict[str, ExperimentRecord],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from uxnet_eval.nni_experiments import records as experiments

    monkeypatch.setattr(experiments, "_warned_trials", set())
    swapped = pair["unguarded"].trials()
    assert sorted(trial.parameters["seed"] for trial in swapped) == [3, 7]
    for trial in swapped:
        assert trial.final == {"default": (10 - trial.parameters["seed"]) / 10}
        assert f"trial {trial.id}: NNI recorded parameters" in caplog.text


@pytest.mark.slow
def test_the_manager_listens_on_this_machine_alone(
    pair: dict[str, ExperimentRecord],
) -> None:
    """Every socket of the manager and its children; that it would listen on all is shown beside the guard."""
    record = pair["guarded"]
    manager = psutil.Process(record.pid)
    addresses = {
        (connection.laddr.ip, connection.laddr.port)
        for process in (manager, *manager.children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {("127.0.0.1", record.port)}
    assert record.port in PORTS


@pytest.mark.slow
def test_events_lie_where_the_button_of_the_web_ui_looks(
    pair: dict[str, ExperimentRecord],
) -> None:
    for trial in pair["guarded"].trials():
        looked_at = pair["guarded"].folder / "trials" / trial.id / "output" / "tensorboard"
        assert (looked_at / "events").read_text() == trial.id
        assert trial.output.is_dir() and looked_at.parent.samefile(trial.output)


@pytest.mark.slow
def test_a_port_in_use_is_named_with_its_experiment(
    pair: dict[str, ExperimentRecord], tmp_path: Path
) -> None:
    first, second = pair["guarded"], pair["unguarded"]
    assert first.port != second.port
    (tmp_path / "trial.py").write_text(UNGUARDED_TRIAL)
    with pytest.raises(UserError, match=f"port {first.port} is taken by experiment {first.id}; stop it"):
        launch(_write_config(tmp_path, 1), port=first.port)
    with pytest.raises(UserError, match=f"experiment {first.id} is DONE at http://127.0.0.1:{first.port}"):
        resume(first.id)


@pytest.mark.slow
def test_a_killed_manager_is_resumed_and_the_orphan_waited_for(toys: dict[str, Launched]) -> None:
    launched = toys["resumed"]
    record = find_experiment(launched.experiment_id)
    _wait_for(lambda: list(launched.folder.glob("environments/local-env/trials/*/checkpoint")))
    _wait_for(lambda: _points(launched.folder))
    assert record.pid is not None
    os.kill(record.pid, signal.SIGKILL)
    _wait_for(lambda: find_experiment(launched.experiment_id).status == "STOPPED")
    with pytest.raises(UserError, match="was stopped, or its manager died, before it was done"):
        wait_until_done(launched.experiment_id)
    resumed = resume(launched.experiment_id)
    assert resumed.experiment_id == launched.experiment_id
    [trial] = find_experiment(launched.experiment_id).trials()
    (trial.output / "end_orphan").touch()
    wait_until_done(launched.experiment_id, poll_s=0.5)
    trial, other = find_experiment(launched.experiment_id).trials()
    assert (trial.status, trial.final) == ("SUCCEEDED", {"default": 0.3, "same": 1})
    assert (other.status, other.final) == ("SUCCEEDED", {"default": 0.7})
    assert [each.parameters["seed"] for each in (trial, other)] == [3, 7]  # none twice, and none left out
    assert float((trial.output / "resumed").read_text()) > float((trial.output / "orphan_ended").read_text())
    assert _points(launched.folder) == [(0, 0.1), (1, 0.2)]


def _points(experiment: Path) -> list[tuple[int, float]]:
    """Sequence number and score of every intermediate result that NNI has stored."""
    query = "select sequence, data from MetricData where type = 'PERIODICAL'"
    with contextlib.closing(sqlite3.connect(experiment / "db" / "nni.sqlite")) as database:
        rows = database.execute(query).fetchall()
    return [(sequence, json.loads(json.loads(data))["default"]) for sequence, data in rows]


def _wait_for(condition: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def test_errors_before_nni_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(nnictl.subprocess, "Popen", None)  # nothing is started
    with pytest.raises(UserError, match=r"absent\.yml: cannot be read"):
        launch(tmp_path / "absent.yml")
    with pytest.raises(UserError, match="'abc' is not known to NNI; it knows none"):
        stop("abc")
    with pytest.raises(UserError, match="'abc' is not known to NNI"):
        resume("abc")
    file = _write_config(tmp_path, 1)
    values = yaml.safe_load(file.read_text())
    machine = {"host": "host.example", "user": "me", "sshKeyFile": str(file), "pythonPath": "/usr/bin"}
    remote = {"platform": "remote", "machineList": [machine], "nniManagerIp": "192.0.2.1"}
    values["nniManagerIp"] = "192.0.2.1"
    values["trainingService"] = [{"platform": "local"}, remote]  # NNI's other remote service
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(
        UserError, match=r"machines of platform remote must reach the manager.*--open-to-network"
    ):
        launch(file)
    values["trainingService"] = remote
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"come through tunnels; leave --open-to-network out"):
        launch(file, open_to_network=True)


def test_nnictl_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nnictl"
    fake.write_text("#!/bin/sh\necho '\x1b[31mERROR: Create experiment failed: bad things\x1b[0m'\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(nnictl, "NNICTL", (str(fake),))
    with pytest.raises(
        UserError, match=r"nnictl create failed: ERROR: Create experiment failed: bad things$"
    ):
        nnictl.nnictl(["create"], {})


def test_a_port_is_only_free_if_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    monkeypatch.setenv("HOME", str(tmp_path))
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        with pytest.raises(UserError, match=f"port {port} is taken by another program"):
            ports.require_free(port)
        monkeypatch.setattr(ports, "FIRST_PORT", port)
        assert ports.free_port(False) > port
        monkeypatch.setattr(ports, "NUM_PORTS", 1)
        with pytest.raises(UserError, match="no port from"):
            ports.free_port(False)


def test_connections_of_a_program_that_has_ended_take_no_port() -> None:
    """``--port`` of an experiment that was just stopped: the server closed first, so its side waits (TIME_WAIT)."""
    import socket

    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = server.accept()
    served.close()
    assert client.recv(1) == b""
    client.close()
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(("127.0.0.1", port))
    assert ports.is_free(port)


def test_ctrl_c_waits_until_nnictl_has_ended() -> None:
    """Otherwise a manager could be left that NNI does not know of."""
    with nnictl.deferred_interrupt() as pressed:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
    assert pressed == [signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def test_ctrl_c_while_watching_says_that_the_experiment_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_experiment_id: str) -> ExperimentRecord:
        raise KeyboardInterrupt

    monkeypatch.setattr("uxnet_eval.nni_experiments.progress.find_experiment", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wait_until_done("abcdefgh")
    assert "abcdefgh goes on. Stop it with: nnictl stop abcdefgh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "sequences", "trial_status", "ended"),
    [
        ("RUNNING", [0, 1], "SUCCEEDED", False),
        ("TUNER_NO_MORE_TRIAL", [], "", False),  # the one trial is still being made
        ("TUNER_NO_MORE_TRIAL", [0], "SUCCEEDED", False),
        ("TUNER_NO_MORE_TRIAL", [0, 1], "RUNNING", False),
        ("TUNER_NO_MORE_TRIAL", [0, 1], "FAILED", True),
        ("DONE", [0], "SUCCEEDED", True),
    ],
)
def test_an_experiment_of_two_trials_ends_with_the_second(
    status: str, sequences: list[int], trial_status: str, ended: bool, tmp_path: Path
) -> None:
    """The tuner says that it has no more before NNI lists the last trial that it proposed."""
    record = ExperimentRecord("abcdefgh", tmp_path, {}, status, 8080, 1, num_proposed=2)
    trials = [TrialRecord(str(n), n, trial_status, {}, None, tmp_path) for n in sequences]
    assert has_ended(record, trials, "") is ended


def test_words_of_the_progress() -> None:
    # 2 of 6 trials ended in 5 minutes of watching: 4 more take 10.
    assert time_left(6, 2, 2, elapsed_s=300) == "about 10 min left"
    assert time_left(6, 5, 1, elapsed_s=30) == "less than a minute left"
    assert time_left(6, 2, 0, elapsed_s=300) == ""  # none while watched
    assert time_left(None, 2, 2, elapsed_s=300) == ""
    assert time_left(6, 6, 2, elapsed_s=300) == ""
    records = [TrialRecord("a", 0, "SUCCEEDED", {}, final, Path()) for final in ({"default": 0.25}, None)]
    assert best_score(records) == "0.2500"
    assert best_score([]) == "-"
