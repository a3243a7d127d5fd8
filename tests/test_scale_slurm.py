"""Experiments on a real SLURM of one node: an array of trials, stops, limits, ends, and what a user may get wrong."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from slurm_cluster import MAX_ARRAY_SIZE, Cluster, missing_programs, one_node_cluster
from typer.testing import CliRunner

from search_space import UserError
from uxnet_eval.cli import app
from uxnet_eval.slurm.record import SlurmExperiment, read_slurm_experiment
from uxnet_eval.slurm.task import State
from uxnet_eval.training.run import run_training

pytestmark = [pytest.mark.slow, pytest.mark.scale]

ROOT = Path(__file__).parents[1]
PLAN = {
    "spacing_mm": [1.0, 1.0, 1.0],
    "patch_size": [16, 16, 16],
    "strides": [[2, 2, 2], [2, 2, 2]],
    "batch_size": 1,
}
SEARCH = {
    "plan": PLAN,
    "space": {"base_channels": 2},
    "search": {"epochs": 2, "steps_per_epoch": 2, "warmup_epochs": 0, "validation_cases": 2},
    "runtime": {"num_threads": 1, "precision": "float32"},
}
TRAINING = {
    "plan": PLAN,
    "network": {"architecture": "preset:unet", "base_channels": 2},
    "train": {"epochs": 12, "steps_per_epoch": 8, "validate_every": 4},
    "runtime": {"num_threads": 1, "precision": "float32"},
}
TOY = """
import json, os, pathlib, time  # nothing that takes long to load: the limits here are short
folder = pathlib.Path(os.environ["UXNET_TRIAL"])
parameters = json.loads((folder / "parameters.json").read_text())
begun = folder / "begun"
begun.write_text(begun.read_text() + "." if begun.exists() else ".")
seconds = parameters["seconds"] if len(begun.read_text()) == 1 else 1
for second in range(seconds):
    time.sleep(1)
    if parameters.get("saves", True):
        (folder / "checkpoint.ckpt").write_text(str(second))
(folder / "gpus").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
(folder / "final.json").write_text(json.dumps({"default": parameters["seconds"] / 1000}))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The running cluster; at the end, nothing of it ever listened beyond the loopback interface."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"needs SLURM: {missing[0]} is not installed (Debian: apt install slurm-wlm munge)")
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("needs submitit: pip install 'uxnet-search[slurm]'")
    addresses: set[str] = set()
    ended = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("slurm")
        folder.parent.chmod(0o755)
        try:
            context = one_node_cluster(folder)
            running = context.__enter__()
        except RuntimeError as error:
            pytest.skip(f"SLURM does not come up on this machine: {' '.join(str(error).split())[:600]}")

        def look() -> None:
            while not ended.wait(0.5):
                addresses.update(running.listeners())

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            patch.setenv("SLURM_CONF", running.environment["SLURM_CONF"])
            patch.setenv("PYTHONPATH", str(ROOT))
            patch.setenv("OMP_NUM_THREADS", "1")
            yield running
        finally:
            ended.set()
            watcher.join()
            context.__exit__(None, None, None)
    assert addresses == {"127.0.0.1"}


class Outcome(NamedTuple):
    """How a command ended; ``error`` is the line that it would print."""

    stdout: str
    error: str


def uxnet(*arguments: str | Path) -> Outcome:
    """Runs a command in this process, which has loaded everything already."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, (UserError, SystemExit)):
        raise done.exception
    return Outcome(done.stdout, str(done.exception or ""))


def write_experiment(folder: Path, command: str, space: dict[str, object], **more: object) -> Path:
    path = folder / "tiny.yml"
    tuner = "Batch" if "combine_params" in space else "GridSearch"
    values = {
        "experimentName": "tiny",
        "searchSpace": space,
        "trialCommand": command,
        "trialConcurrency": 1,
        "tuner": {"name": tuner},
        "trainingService": {"platform": "local"},
    }
    path.write_text(yaml.safe_dump(values | more))
    return path


def write_toy(folder: Path, trials: list[dict[str, object]]) -> Path:
    (folder / "toy.py").write_text(TOY)
    return write_experiment(
        folder, "python3 toy.py", {"combine_params": {"_type": "choice", "_value": trials}}
    )


def launch(file: Path, request: str, *more: str) -> SlurmExperiment:
    done = uxnet("launch", file, "--slurm", request, "--experiment-dir", file.parent / "runs", *more)
    assert not done.error, done
    return read_slurm_experiment(Path(done.stdout.split("experiment:")[1].split()[0]))


def wait(condition: Callable[[], object], timeout_s: float = 1200) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)


def logs(experiment: SlurmExperiment) -> str:
    paths = [*experiment.folder.glob("trials/*/std*"), *experiment.folder.glob("jobs/*.err")]
    return "\n".join(f"{path}: {path.read_text()[-1500:]}" for path in paths)


def test_searches_run_as_an_array_and_are_exported_like_those_of_nni(
    cluster: Cluster, tmp_path: Path, demo_set: Path
) -> None:
    (tmp_path / "tiny.run.yml").write_text(yaml.safe_dump({"dataset": str(demo_set), **SEARCH}))
    file = write_experiment(
        tmp_path,
        "python3 -m uxnet_eval.cli search --config tiny.run.yml",
        {"seed": {"_type": "choice", "_value": [3, 7]}},
    )
    experiment = launch(file, "partition=main,time=10", "--wait")
    trials = experiment.trials()
    assert [trial.status for trial in trials] == ["SUCCEEDED"] * 2, logs(experiment)
    assert [dict(trial.parameters) for trial in trials] == [{"seed": 3}, {"seed": 7}]
    assert len({job.split("_")[0] for job in experiment.job_ids().values()}) == 1  # one array
    for trial in trials:
        settings = yaml.safe_load((trial.output / "run.yml").read_text())
        assert settings["search"]["seed"] == trial.parameters["seed"]
        assert trial.final is not None
        assert trial.final == {
            name: value
            for name, value in json.loads((trial.output / "result.json").read_text()).items()
            if name not in ("search_minutes", "content_sha256")
        }
    best = max(trials, key=lambda trial: trial.final["default"])  # type: ignore[index]
    exported = uxnet("export", experiment.folder, "-o", tmp_path / "genotype.json")
    assert not exported.error
    provenance = json.loads((tmp_path / "genotype.json").read_text())["provenance"]
    assert provenance["trial_id"] == best.id and provenance["parameters"] == dict(best.parameters)
    report = uxnet("report", experiment.folder, "-o", tmp_path / "report.html")
    assert not report.error
    page = (tmp_path / "report.html").read_text()
    assert "SLURM experiment" in page and "trial 1" in page
    shown = uxnet("status", experiment.folder).stdout
    assert "seed=3" in shown and "2 of 2 trials ended" in shown


def test_a_preempted_training_goes_on_to_the_weights_of_an_undisturbed_one(
    cluster: Cluster, tmp_path: Path, demo_set: Path
) -> None:
    (tmp_path / "tiny.run.yml").write_text(yaml.safe_dump({"dataset": str(demo_set), **TRAINING}))
    file = write_experiment(
        tmp_path,
        "python3 -m uxnet_eval.cli train --config tiny.run.yml",
        {"seed": {"_type": "choice", "_value": [1]}},
    )
    experiment = launch(file, "time=20,mem=500M,signal=30")
    folder = experiment.output(0)
    wait(lambda: (folder / "checkpoint.ckpt").exists() and (folder / "training.json").exists())
    whole_node = ("--partition=urgent", "--cpus-per-task=2", "--output=/dev/null")
    cluster.run("sbatch", *whole_node, f"--wrap=touch {tmp_path}/urgent")
    run_training(tmp_path / "tiny.run.yml", output=tmp_path / "by_hand", overrides={"seed": 1})
    wait(lambda: experiment.trials()[0].status not in ("WAITING", "RUNNING"))
    assert experiment.trials()[0].status == "SUCCEEDED", logs(experiment)
    assert State.load(folder).attempts == 2
    assert (tmp_path / "urgent").exists() and "Caught signal SIGUSR1" in logs(experiment)
    assert "continued from" in (folder / "stderr").read_text()
    kept, straight = (
        torch.load(each / "checkpoint.ckpt", weights_only=True)["state_dict"]
        for each in (folder, tmp_path / "by_hand")
    )
    assert kept.keys() == straight.keys()
    assert all(torch.equal(kept[name], straight[name]) for name in kept)
    compared = uxnet("compare", experiment.folder, "-o", tmp_path / "comparison")
    assert not compared.error
    assert "\n| U-Net (" in (tmp_path / "comparison" / "comparison.md").read_text()


def test_the_time_limit_queues_again_what_saves_and_ends_what_does_not(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A real limit of two minutes, for two trials that the first time want longer."""
    file = write_toy(tmp_path, [{"seconds": 300}, {"seconds": 300, "saves": False}])
    experiment = launch(file, "time=2,signal=20")
    wait(lambda: not {"WAITING", "RUNNING"} & {trial.status for trial in experiment.trials()})
    saving, forgetful = experiment.trials()
    assert saving.status == "SUCCEEDED" and saving.final == {"default": 0.3}, logs(experiment)
    assert State.load(saving.output).attempts == 2
    assert forgetful.status == "FAILED" and State.load(forgetful.output).attempts == 1
    assert "in which it saved nothing; give it more time" in forgetful.note


def test_each_trial_has_the_gpus_that_it_asks_for(cluster: Cluster, tmp_path: Path) -> None:
    """SLURM's part alone: it gives the one GPU that it believes in to one trial after the other."""
    experiment = launch(
        write_toy(tmp_path, [{"seconds": 1}, {"seconds": 2}]),
        "partition=main,time=5,gpus=1,mem=100M",
        "--wait",
    )
    assert [trial.status for trial in experiment.trials()] == ["SUCCEEDED"] * 2, logs(experiment)
    assert [(trial.output / "gpus").read_text() for trial in experiment.trials()] == ["0", "0"]


def test_cancelled_and_killed_trials_are_told_apart_and_resumed(cluster: Cluster, tmp_path: Path) -> None:
    file = write_toy(tmp_path, [{"seconds": 90}, {"seconds": 5}, {"seconds": 6}])
    experiment = launch(file, "time=5,concurrency=1")
    wait(lambda: experiment.trials()[0].status == "RUNNING")
    cluster.run("scancel", "--signal=KILL", "--full", experiment.job_ids()[0])
    wait(lambda: experiment.trials()[0].status == "SYS_CANCELED")
    assert f"SLURM ended job {experiment.job_ids()[0]}" in experiment.trials()[0].note
    cancelled = uxnet("cancel", experiment.folder)
    assert cancelled.stdout.startswith("2 trials ended\n"), cancelled
    experiment = read_slurm_experiment(experiment.folder)
    wait(lambda: [trial.status for trial in experiment.trials()] == ["USER_CANCELED"] * 3)
    resumed = uxnet("launch", "--resume", experiment.folder, "--slurm", "time=6")
    assert "trials:     3 of 3" in resumed.stdout, resumed
    experiment = read_slurm_experiment(experiment.folder)
    wait(lambda: [trial.status for trial in experiment.trials()[1:]] == ["SUCCEEDED"] * 2)
    time.sleep(8)  # it saves its state every five seconds; a job that it forgot would block the node
    assert experiment.trials()[0].status == "RUNNING"
    # The controller dies, as with a reboot of the login node; jobs and their results do not depend on it.
    cluster.kill("slurmctld")
    down = uxnet("status", experiment.folder)
    assert down.error.startswith("SLURM: ") and "ontact" in down.error and "\n" not in down.error, down
    cluster.start("slurmctld")

    def all_succeeded() -> bool:
        try:
            return all(trial.status == "SUCCEEDED" for trial in experiment.trials())
        except ValueError:  # the controller starts
            return False

    wait(all_succeeded)
    assert [trial.final for trial in experiment.trials()] == [{"default": n / 1000} for n in (90, 5, 6)]
    assert "nothing to resume" in uxnet("launch", "--resume", experiment.folder).error


def test_a_login_node_that_reboots_while_it_submits_loses_nothing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM has taken the array, and its answer is lost."""

    def reboot(*_: object) -> SlurmExperiment:
        raise RuntimeError("reboot")

    file = write_toy(tmp_path, [{"seconds": 15}, {"seconds": 2}])
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="reboot"):
        patch.setattr(SlurmExperiment, "with_jobs", reboot)
        launch(file, "time=5,concurrency=1")
    (folder,) = (tmp_path / "runs").iterdir()
    trials = read_slurm_experiment(folder).trials()
    assert [trial.status for trial in trials] == ["SYS_CANCELED"] * 2
    assert all("cut off while it submitted" in trial.note for trial in trials)
    resumed = uxnet("launch", "--resume", folder)
    assert "every trial has succeeded or is in the queue" in resumed.error  # found again
    experiment = read_slurm_experiment(folder)
    assert {trial.status for trial in experiment.trials()} <= {"WAITING", "RUNNING"}
    wait(lambda: [trial.status for trial in experiment.trials()] == ["SUCCEEDED"] * 2)
    assert [State.load(experiment.output(number)).attempts for number in (0, 1)] == [1, 1]


@pytest.mark.parametrize(
    ("request_", "changes", "message"),
    [
        (
            "time=5,partition=nosuch",
            {},
            "SLURM: invalid partition specified: nosuch; Batch job submission failed",
        ),
        ("time=5,mem=64T", {}, "SLURM: "),
        ("time=5,gpus=2", {}, "SLURM: "),
        (
            "time=5",
            {"searchSpace": {"seconds": {"_type": "randint", "_value": [0, 50]}}},
            f"more trials than this cluster takes in one array ({MAX_ARRAY_SIZE}, MaxArraySize)",
        ),
        ("time=5", {"tuner": {"name": "TPE"}}, "tuner TPE waits for results before it chooses"),
    ],
)
def test_what_slurm_refuses_is_one_line_and_leaves_nothing(
    cluster: Cluster, tmp_path: Path, request_: str, changes: dict[str, object], message: str
) -> None:
    space = {"seconds": {"_type": "choice", "_value": [1, 2]}}
    (tmp_path / "toy.py").write_text(TOY)
    file = write_experiment(tmp_path, "python3 toy.py", space, **changes)
    before = set(cluster.run("squeue", "--noheader", "--format=%i").split())  # earlier tests' may still end
    done = uxnet("launch", file, "--slurm", request_, "--experiment-dir", tmp_path / "runs")
    assert message in done.error and "\n" not in done.error, done
    assert not list((tmp_path / "runs").glob("*"))
    assert set(cluster.run("squeue", "--noheader", "--format=%i").split()) <= before
