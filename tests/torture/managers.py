"""A manager of NNI that dies with trials unfinished: ``uxnet launch --resume`` ends with the undisturbed results."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from uxnet_eval.nni_experiments.launch import stop
from uxnet_eval.nni_experiments.records import find_experiment

from .campaign import Tally
from .runs import fingerprint, make_place

ROOT = Path(__file__).parents[2]
SEEDS = (1, 2, 3)
EXPERIMENT = {
    "searchSpace": {"seed": {"_type": "choice", "_value": list(SEEDS)}},
    "trialCommand": "python -m uxnet_eval.cli train --config train.yml",
    "trialConcurrency": 2,
    "maxTrialNumber": len(SEEDS),
    "tuner": {"name": "GridSearch"},  # never the same parameters twice
    "trainingService": {"platform": "local"},
}
COMPARED = {"best.pt", "last.pt", "checkpoint.ckpt", "result.json", "training.json", "folds.json"}
"""What a trial must end with, bit for bit, times aside; NNI writes other files beside them."""
LONGEST_S = 900

Results = dict[int, dict[str, str]]
"""By seed of the trial: a hash of each file that counts."""


def kill_managers(folder: Path, number: int, scratch: Path, rng: random.Random, tally: Tally) -> None:
    """Kills the manager of one experiment after another, and resumes each at once.

    Args:
        folder: for the undisturbed experiment, which is made once.
        number: of experiments.
        scratch: for the others.
        rng: when the managers die.
        tally: counts.
    """
    expected, seconds = _undisturbed(folder)
    for turn in range(number):
        place = scratch / f"experiment-{turn}"
        moment_s = rng.uniform(0, seconds)
        what = f"manager killed {moment_s:.1f} s after the launch"
        with _experiment(place) as experiment_id:
            time.sleep(moment_s)
            manager = find_experiment(experiment_id).pid
            assert manager is not None, "it ended before it was killed"
            os.kill(manager, signal.SIGKILL)
            tally.kills += 1
            while find_experiment(experiment_id).pid is not None:
                time.sleep(0.1)
            resumed = _uxnet(
                place / "code", "launch", "--resume", experiment_id, "--port", _free_port(), "--wait"
            )
            if resumed.returncode != 0:
                tally.add(what, f"does not go on: {resumed.stderr[-400:]}")
                continue
            faults = ["a traceback"] if "Traceback (most recent call last)" in resumed.stderr else []
            unfinished = [
                f"trial {trial.sequence} is {trial.status}"
                for trial in find_experiment(experiment_id).trials()
                if trial.status != "SUCCEEDED"
            ]
            found = _results(experiment_id)
            differ = [
                f"seed {seed}: {name} differs"
                for seed in SEEDS
                for name in sorted(COMPARED)
                if found.get(seed, {}).get(name) != expected[seed].get(name)
            ]
            tally.add(what, *faults, *unfinished, *differ)
        shutil.rmtree(place, ignore_errors=True)


@cache
def _undisturbed(folder: Path) -> tuple[Results, float]:
    """What an experiment ends with to which nothing happens, and how long that takes after the launch."""
    with _experiment(folder) as experiment_id:
        started = time.monotonic()
        while find_experiment(experiment_id).status != "DONE":
            assert time.monotonic() - started < LONGEST_S, find_experiment(experiment_id).status
            time.sleep(0.5)
        results = _results(experiment_id)
        assert sorted(results) == sorted(SEEDS) and all(
            "result.json" in files and "last.pt" in files for files in results.values()
        ), results
        return results, time.monotonic() - started


@contextlib.contextmanager
def _experiment(place: Path) -> Iterator[str]:
    """The id of an experiment that was launched in ``place``; it is stopped at the end."""
    for folder in (place / "code", place / "home"):
        folder.mkdir(parents=True)
    make_place(place / "code")
    (place / "code" / "experiment.yml").write_text(yaml.safe_dump(EXPERIMENT))
    home = os.environ.get("HOME", "")
    os.environ["HOME"] = str(place / "home")  # where NNI keeps its list of experiments
    try:
        launched = _uxnet(place / "code", "launch", "experiment.yml", "--port", _free_port())
        named = re.search(r"experiment: (\S+)", launched.stdout)
        assert launched.returncode == 0 and named is not None, launched.stderr
        try:
            yield named[1]
        finally:
            stop(named[1])
    finally:
        os.environ["HOME"] = home


def _results(experiment_id: str) -> Results:
    return {
        trial.parameters["seed"]: {
            name: value for name, value in fingerprint(trial.output).items() if name in COMPARED
        }
        for trial in find_experiment(experiment_id).trials()
    }


def _uxnet(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "uxnet_eval.cli", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
