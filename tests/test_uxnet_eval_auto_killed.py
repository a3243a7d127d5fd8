"""``uxnet auto`` killed once in each stage and started again: the same final table."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.auto_runs import planned, tiny_schedule
from tests.test_uxnet_eval_auto import outcome_of, without_minutes
from uxnet_eval.auto.record import AutoRecord
from uxnet_eval.auto.run import run_auto

KILLED_AT = {
    "search": "search/checkpoint.ckpt",
    "choose": "choose/proposal-1/run.yml",
    "train": "train/unet-fold1/checkpoint.ckpt",
    "evaluate": "evaluation/searched/summary.json",
    "report": "architecture.png",
}
"""A file that shows that a stage is in its middle."""
TIMEOUT_S = 400


def start(data: Path, folder: Path) -> multiprocessing.process.BaseProcess:
    """A process of its own, forked from one that has imported all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["uxnet_eval.auto.run"])
    process = context.Process(target=run_auto, args=(str(data), folder))
    process.start()
    return process


def is_done(stage: str, folder: Path) -> bool:
    record = AutoRecord.load(folder)
    return record is not None and record.stages[stage].done


def killed_when(happened: Callable[[], bool], data: Path, folder: Path) -> AutoRecord:
    """Starts the run, kills it when something has happened, and returns what the folder remembers."""
    process = start(data, folder)
    deadline = time.monotonic() + TIMEOUT_S
    while not happened():
        assert process.is_alive(), "ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    record = AutoRecord.load(folder)
    assert record is not None
    return record


@pytest.mark.slow
@pytest.mark.long
def test_killed_in_every_stage(tmp_path: Path, demo_set: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    planned(whole, demo_set, tiny_schedule(demo_set))
    # In the check, then in the plan, whose own schedule depends on the machine: the test's replaces it.
    killed_when(lambda: (killed / "auto.json").exists(), demo_set, killed)
    record = killed_when(lambda: is_done("check", killed), demo_set, killed)
    assert not record.stages["plan"].done
    planned(killed, demo_set, tiny_schedule(demo_set))
    for stage, sign in KILLED_AT.items():
        record = killed_when((killed / sign).exists, demo_set, killed)
        assert not record.stages[stage].done
        assert not (killed / "table.md").exists()
    for folder in (killed, whole):
        process = start(demo_set, folder)
        process.join(TIMEOUT_S)
        assert process.exitcode == 0
    assert without_minutes(outcome_of(killed)) == without_minutes(outcome_of(whole))
    assert (killed / "report.html").exists()
