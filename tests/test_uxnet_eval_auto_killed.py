"""``uxnet auto`` killed once in each stage and started again: the same final table."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
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


@pytest.mark.slow
@pytest.mark.long
def test_killed_in_every_stage(tmp_path: Path, demo_set: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    planned(whole, demo_set, tiny_schedule(demo_set))
    shutil.copytree(whole, killed)
    for stage, sign in KILLED_AT.items():
        process = start(demo_set, killed)
        deadline = time.monotonic() + TIMEOUT_S
        while not (killed / sign).exists():
            assert process.is_alive(), f"ended before {sign} was there"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        record = AutoRecord.load(killed)
        assert record is not None
        assert not record.stages[stage].done
        assert not (killed / "table.md").exists()
    for folder in (killed, whole):
        process = start(demo_set, folder)
        process.join(TIMEOUT_S)
        assert process.exitcode == 0
    assert without_minutes(outcome_of(killed)) == without_minutes(outcome_of(whole))
    assert (killed / "report.html").exists()
