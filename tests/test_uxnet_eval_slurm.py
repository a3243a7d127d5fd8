"""Experiments on SLURM, without SLURM: requests, parameters, the task, the record, and what a user may get wrong."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from search_space import UserError
from uxnet_eval.cli import app
from uxnet_eval.nni_experiments.sources import find_source
from uxnet_eval.nni_guards import (
    as_by_hand,
    check_experiment_config,
    next_parameters,
    report_final,
    report_intermediate,
    resume_intermediate_sequence,
    trial_output,
)
from uxnet_eval.runs.trial_folder import TrialFolder
from uxnet_eval.slurm import cluster
from uxnet_eval.slurm.parameters import known_parameters
from uxnet_eval.slurm.record import SlurmExperiment, read_slurm_experiment
from uxnet_eval.slurm.request import minutes, parse_request
from uxnet_eval.slurm.task import State, TrialFailed, TrialTask


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90:00", 90),
        ("0:30", 1),
        ("4:00:00", 240),
        ("1:2:3", 63),
        ("2-0", 2880),
        ("1-2:30", 1590),
        ("1-00:00:01", 1441),
    ],
)
def test_times_are_read_as_slurm_reads_them(text: str, expected: int) -> None:
    assert minutes(text) == expected


def test_a_request_keeps_what_was_given() -> None:
    request = parse_request("partition=gpu, time=4:00:00,gpus=1,mem=32G")
    assert (request.partition, request.time, request.gpus, request.mem) == ("gpu", 240, 1, "32G")
    assert parse_request("time=4:00:00").model_dump(mode="json", exclude_none=True)["time"] == 240


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partition=gpu", "the time limit of a trial is missing; add time=4:00:00"),
        ("time=5,partiton=gpu", r"unknown key 'partiton' \(did you mean 'partition'\?\)"),
        ("time=5,gpus", "--slurm gpus: expected NAME=VALUE"),
        ("time=5,time=6", "'time' is given twice"),
        ("time=soon", "'soon' is no time that SLURM knows"),
        ("time=0", "time: .*greater than or equal to 1"),
        ("time=5,mem=lots", "mem: "),
        ("time=5,gpus=-1", "gpus: "),
    ],
)
def test_a_wrong_request_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_request(text)
    assert "\n" not in str(caught.value)


def experiment_file(folder: Path, **changes: object) -> Path:
    values = {
        "searchSpace": {
            "a": {"_type": "choice", "_value": [1, 2]},
            "b": {"_type": "choice", "_value": ["x", "y"]},
        },
        "trialCommand": "true",
        "trialConcurrency": 1,
        "tuner": {"name": "GridSearch"},
        "trainingService": {"platform": "local"},
    }
    path = folder / "x.yml"
    path.write_text(yaml.safe_dump(values | changes))
    return path


def parameters_of(folder: Path, most: int = 100, **changes: object) -> list[dict[str, object]]:
    return known_parameters(check_experiment_config(experiment_file(folder, **changes)), "x.yml", most)


def test_parameters_are_those_of_the_experiments_own_tuner(tmp_path: Path) -> None:
    grid = [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y")]
    assert parameters_of(tmp_path) == grid
    assert parameters_of(tmp_path, maxTrialNumber=3) == grid[:3]
    batch = {"combine_params": {"_type": "choice", "_value": [{"a": 1}, {"b": "y"}]}}
    assert parameters_of(tmp_path, searchSpace=batch, tuner={"name": "Batch"}) == [{"a": 1}, {"b": "y"}]
    drawn = {"rate": {"_type": "uniform", "_value": [0, 1]}, "n": {"_type": "randint", "_value": [0, 9]}}
    random = {
        "searchSpace": drawn,
        "tuner": {"name": "Random", "classArgs": {"seed": 1}},
        "maxTrialNumber": 5,
    }
    found = parameters_of(tmp_path, **random)
    assert found == parameters_of(tmp_path, **random)  # the seed decides
    assert len({each["rate"] for each in found}) == 5 and all(0 <= each["rate"] <= 1 for each in found)  # type: ignore[operator]
    assert json.loads(json.dumps(found)) == found  # no numbers of NumPy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuner": {"name": "TPE"}}, "tuner TPE waits for results before it chooses"),
        (
            {"tuner": {"name": "Random"}, "searchSpace": {"a": {"_type": "uniform", "_value": [0, 1]}}},
            "more trials",
        ),
        ({"tuner": {"name": "Random", "classArgs": {"sed": 1}}}, "NNI's tuner Random refuses its classArgs"),
    ],
)
def test_parameters_that_cannot_be_known_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parameters_of(tmp_path, most=20, **changes)


def test_a_trial_takes_its_parameters_from_its_folder_and_leaves_its_results_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trial_output() is None and next_parameters() == {}
    monkeypatch.setenv("UXNET_TRIAL", str(tmp_path))
    (tmp_path / "parameters.json").write_text('{"seed": 3}')
    assert trial_output() == tmp_path and next_parameters() == {"seed": 3}
    for dice in (0.1, 0.2, 0.3):
        report_intermediate({"default": dice})
    resume_intermediate_sequence(2)  # the run goes on after the second point
    report_intermediate({"default": 0.4, "loss": float("nan")})
    folder = TrialFolder(tmp_path)
    assert folder.newest_intermediate() == {"default": 0.4}
    assert len((tmp_path / "intermediate.jsonl").read_text().splitlines()) == 3
    assert folder.final() is None
    report_final({"default": 0.5})
    assert folder.final() == {"default": 0.5}
    with as_by_hand():
        assert trial_output() is None
        report_final({"default": 0.9})
    assert folder.final() == {"default": 0.5}
    (tmp_path / "parameters.json").write_text("{")
    with pytest.raises(UserError, match="parameters cannot be read"):
        next_parameters()


def test_the_task_keeps_how_its_trial_ended(tmp_path: Path) -> None:
    for name, command in (("well", "echo $UXNET_TRIAL; exit 0"), ("badly", "echo oh >&2; exit 3")):
        (tmp_path / name).mkdir()
        task = TrialTask(command, str(tmp_path), 100, 1)
        if name == "well":
            task(str(tmp_path / name))
        else:
            with pytest.raises(TrialFailed, match="exit code 3"):
                task(str(tmp_path / name))
    assert State.load(tmp_path / "well").status == "SUCCEEDED"
    assert (tmp_path / "well" / "stdout").read_text() == f"{tmp_path / 'well'}\n"
    badly = State.load(tmp_path / "badly")
    assert (badly.status, badly.note, badly.attempts) == ("FAILED", "exit code 3", 1)


@pytest.mark.parametrize(
    ("limit_s", "saves", "status"), [(0, False, "FAILED"), (0, True, "WAITING"), (99, False, "WAITING")]
)
def test_a_stopped_trial_is_queued_again_unless_a_whole_time_limit_saved_nothing(
    tmp_path: Path, limit_s: float, saves: bool, status: str
) -> None:
    """The signals of SLURM to all processes leave the trial alone; its task stops it by SIGINT."""
    pytest.importorskip("submitit")
    program = (
        "import signal,os,time\nos.kill(os.getpid(), signal.SIGUSR1); os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    program += "open('inner/checkpoint.ckpt','w')\n" if saves else ""
    program += "open('ready','w')\ntry:\n time.sleep(60)\nexcept KeyboardInterrupt:\n open('stopped','w')\n"
    (tmp_path / "inner").mkdir()
    (tmp_path / "program.py").write_text(program)
    task = TrialTask(f"exec {sys.executable} program.py", str(tmp_path), limit_s, 20)
    before = signal.signal(signal.SIGUSR1, lambda *_: _end(task, tmp_path))
    stopper = threading.Thread(target=_signal_when_ready, args=(tmp_path,))
    stopper.start()
    try:
        with pytest.raises(SystemExit):
            task(str(tmp_path))
    finally:
        signal.signal(signal.SIGUSR1, before)
        stopper.join()
    assert (tmp_path / "stopped").exists()
    assert State.load(tmp_path).status == status
    assert (tmp_path / "again").read_text() == str(status == "WAITING")


def _end(task: TrialTask, folder: Path) -> None:
    """What submitit does in its handler."""
    (folder / "again").write_text(str(task.checkpoint(str(folder)) is not None))
    sys.exit(1)


def _signal_when_ready(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not (folder / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)  # type: ignore[arg-type]


def made_up_experiment(folder: Path, statuses: list[str]) -> SlurmExperiment:
    experiment = SlurmExperiment(
        folder,
        {"experimentName": "made up"},
        {"time": 5},
        tuple({"seed": number} for number in range(len(statuses))),
        ({number: f"7_{number}" for number in range(len(statuses))},),
    )
    for number, status in enumerate(statuses):
        experiment.output(number).mkdir(parents=True)
        State(status=status, attempts=1).save(experiment.output(number))
    experiment.save()
    return experiment


def test_the_queue_tells_what_the_folder_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up_experiment(tmp_path, ["SUCCEEDED", "WAITING", "RUNNING", "RUNNING"])
    monkeypatch.setattr("uxnet_eval.slurm.record.has_cluster", lambda: True)
    queue = {"7_1": cluster.Job("PENDING", "Resources"), "7_2": cluster.Job("RUNNING", "None")}
    monkeypatch.setattr("uxnet_eval.slurm.record.queued", lambda ids: queue)
    found = find_source(tmp_path)
    assert not isinstance(found, Path) and found.engine == "SLURM" and found.status == "RUNNING"
    trials = found.trials()
    assert [trial.status for trial in trials] == ["SUCCEEDED", "WAITING", "RUNNING", "SYS_CANCELED"]
    assert trials[1].note == "Resources" and "sacct -j 7_3" in trials[3].note
    queue.clear()
    assert found.status == "STOPPED"


@pytest.mark.parametrize("is_in_queue", [True, False])
def test_an_array_whose_id_was_not_recorded_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_in_queue: bool
) -> None:
    """Trial 2 was submitted anew, as the first of its array, when the login node went down."""
    experiment = made_up_experiment(tmp_path, ["SUCCEEDED", "SUCCEEDED", "WAITING"])
    replace(experiment, submitting=(2,)).save()
    ours, others = tmp_path / "jobs" / "submit.sh", tmp_path / "elsewhere" / "jobs" / "submit.sh"
    listed = f"7|{ours}\n9|{others}\n" + (f"8|{ours}\n" if is_in_queue else "")
    monkeypatch.setattr(cluster, "ask", lambda *command: listed)
    found = read_slurm_experiment(tmp_path).with_unrecorded_jobs()
    assert found.job_ids() == {0: "7_0", 1: "7_1", 2: "8_0" if is_in_queue else "7_2"}
    assert found.submitting == (() if is_in_queue else (2,))
    assert experiment.with_unrecorded_jobs() == experiment


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    made_up_experiment(tmp_path, ["SUCCEEDED"])
    (tmp_path / "experiment.json").write_text('{"format": "uxnet-slurm-experiment"}')
    with pytest.raises(UserError, match="damaged or of another version"):
        read_slurm_experiment(tmp_path)


def test_without_slurm_the_line_says_where_to_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="sbatch: not found; run this on a machine of a SLURM cluster"):
        cluster.require_cluster()


def test_slurms_own_words_become_one_line() -> None:
    said = (
        "sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed: Invalid\n"
    )
    assert cluster.own_words(said) == "invalid partition specified: x; Batch job submission failed: Invalid"


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_status_shows_every_trial(tmp_path: Path) -> None:
    experiment = made_up_experiment(tmp_path, ["SUCCEEDED", "FAILED"])
    TrialFolder(experiment.output(0)).report_final({"default": 0.25})
    shown = invoke("status", tmp_path).stdout
    assert re.search(r"0 .*SUCCEEDED .*seed=0 .*0\.2500", shown) and re.search(r"1 .*FAILED .*seed=1", shown)
    assert "2 of 2 trials ended, 0 running, best 0.2500\nnext: uxnet report " in shown
    (tmp_path / "other").mkdir()
    assert "is no experiment; give the folder" in str(invoke("status", tmp_path / "other").exception)


def test_cancel_ends_what_is_in_the_queue_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up_experiment(tmp_path, ["SUCCEEDED", "WAITING", "RUNNING"])
    asked: list[tuple[str, ...]] = []

    def ask(*command: str) -> str:
        asked.append(command)
        return "7_1|PENDING|Priority\n7_2|RUNNING|None\n" if command[0] == "squeue" else ""

    monkeypatch.setattr(cluster, "ask", ask)
    monkeypatch.setattr("uxnet_eval.slurm.launch.require_cluster", lambda: None)
    assert invoke("cancel", tmp_path).stdout.startswith("2 trials ended\nnext: uxnet launch --resume ")
    assert asked[-1] == ("scancel", "7_1", "7_2")
    assert read_slurm_experiment(tmp_path).is_cancelled


def test_launch_hands_its_request_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    def launched(*arguments: object, **options: object) -> SlurmExperiment:
        calls.append((*arguments, options))
        return made_up_experiment(tmp_path / str(len(calls)), ["WAITING", "WAITING"])

    monkeypatch.setattr("uxnet_eval.slurm.launch.launch", launched)
    monkeypatch.setattr("uxnet_eval.slurm.launch.resume", launched)
    done = invoke("launch", "x.yml", "--slurm", "time=5,gpus=1", "--experiment-dir", tmp_path)
    request = parse_request("time=5,gpus=1")
    assert calls == [(Path("x.yml"), request, {"experiment_dir": tmp_path})]
    assert f"experiment: {tmp_path / '1'}\ntrials:     2 of 2, job 7\n" in done.stdout
    invoke("launch", "--resume", tmp_path / "1")
    invoke("launch", "--resume", tmp_path / "1", "--slurm", "time=9")
    assert calls[1:] == [(tmp_path / "1", None, {}), (tmp_path / "1", parse_request("time=9"), {})]
    refused = invoke("launch", "x.yml", "--slurm", "time=5", "--port", "8080")
    assert refused.exit_code == 2 and len(calls) == 3
