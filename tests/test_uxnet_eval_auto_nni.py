"""``uxnet auto --nni`` with real experiments: its page, kills of either side, and the same final table."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.auto_runs import planned, tiny_schedule
from tests.test_uxnet_eval_auto import outcome_of, without_minutes
from uxnet_eval.auto.run import run_auto
from uxnet_eval.auto.trainings import end_experiments, page_of
from uxnet_eval.nni_experiments.records import ExperimentRecord, known_experiments, read_experiment
from uxnet_eval.nni_guards.door import open_url

pytestmark = [pytest.mark.slow, pytest.mark.long]

TIMEOUT_S = 300


def start(data: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "uxnet_eval.cli", "auto", str(data), "-o", str(folder), "--nni"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def experiments(folder: Path) -> list[ExperimentRecord]:
    """Those of an output folder, the oldest first."""
    names = [name for name in known_experiments() if (folder / "nni" / name).is_dir()]
    return sorted(map(read_experiment, (folder / "nni" / name for name in names)), key=lambda each: each.port)


@pytest.fixture
def folders(tmp_path: Path, demo_set: Path) -> Iterator[tuple[Path, Path]]:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    planned(whole, demo_set, tiny_schedule(demo_set))
    shutil.copytree(whole, killed)
    yield whole, killed
    end_experiments(killed)


def test_kills_of_auto_and_of_nni_change_nothing(folders: tuple[Path, Path], demo_set: Path) -> None:
    whole, killed = folders
    # uxnet auto dies in the choice; its experiment goes on until the same command ends it.
    process = start(demo_set, killed)
    wait_for((killed / "choose" / "proposal-0" / "run.yml").exists, process)
    process.kill()
    process.communicate()
    assert page_of(killed) is not None
    # NNI's manager dies in the training: one line.
    process = start(demo_set, killed)
    wait_for((killed / "train" / "searched-fold1" / "run.yml").exists, process)
    (running,) = [each for each in experiments(killed) if each.pid is not None]
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1, output
    last = output.splitlines()[-1]
    assert last.startswith(f"uxnet: error: experiment {running.id} was stopped, or its manager died"), output
    assert last.endswith("the same command goes on")
    # Ctrl-C in the next experiment ends it.
    process = start(demo_set, killed)
    wait_for(lambda: page_of(killed) is not None, process)  # NNI may still be about to start
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, output
    assert "stopped in the stage train; the same command goes on there" in output
    assert page_of(killed) is None
    # And to the end.
    process = start(demo_set, killed)
    output, _ = process.communicate(timeout=2 * TIMEOUT_S)
    assert process.returncode == 0, output
    run_auto(str(demo_set), whole)
    assert without_minutes(outcome_of(killed)) == without_minutes(outcome_of(whole))
    # The page of the trainings stays, and shows them.
    page = page_of(killed)
    assert page is not None
    assert f"NNI's page:     {page[1]}" in output
    assert f"nnictl stop {page[0]}" in output
    assert output.splitlines()[-1].startswith("next: uxnet predict ")
    with open_url(page[1].partition("?")[0], page[1].partition("token=")[2], 10) as answer:
        assert answer.status == 200
    trials = read_experiment(killed / "nni" / page[0]).trials()
    assert {trial.status for trial in trials} == {"SUCCEEDED"}
    finals = {trial.parameters["training"]: trial.final for trial in trials}
    for name, final in finals.items():
        assert final is not None
        assert (killed / name / "result.json").exists()
