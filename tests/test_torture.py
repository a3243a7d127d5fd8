"""A small part of ``make torture``, in a process of its own, because it forks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torture.whole import PARTS

TESTS = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.long
def test_a_part_of_the_torture_leaves_nothing_wrong() -> None:
    """About 50 malformed inputs, 3 kills at random, 6 before writes, 6 full disks, 5 flipped bits, and so on.

    Killed managers are left out: ``test_uxnet_eval_launch.py`` has one.
    """
    parts = [name for name in PARTS if name != "killed managers"]
    only = [word for name in parts for word in ("--only", name)]
    run = subprocess.run(
        [sys.executable, "-m", "torture", "--share", "0.06", "--seed", "1", *only],
        cwd=TESTS,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    rows = [line.split("|") for line in run.stdout.splitlines() if line.startswith("| ")][2:]
    checks = {row[1].strip(): int(row[4]) for row in rows}
    assert list(checks) == parts and min(checks.values()) >= 4 and sum(checks.values()) >= 90


def test_the_torture_notices_what_is_wrong(tmp_path: Path) -> None:
    """Else a table without faults would mean nothing."""
    from torture.processes import Outcome
    from torture.runs import fingerprint, half_written

    def fault(code: int | None, output: str, gib: float = 0.5) -> str:
        return Outcome(code, output, 1.0, gib).fault

    assert (
        not fault(1, "uxnet: error: a.json: damaged; make it again\n")
        and not fault(0, "done")
        and not fault(2, "")
    )
    assert "traceback" in fault(1, "Traceback (most recent call last)\nKeyError: 'x'")
    assert "no line" in fault(1, "") and "GiB" in fault(0, "", 3.0) and "took more" in fault(None, "")
    assert "exit code -11" in fault(-11, "")

    (tmp_path / "result.json").write_text('{"minutes": 1, "default": 0.5}')
    (tmp_path / ".lock").write_text("")
    before = fingerprint(tmp_path)
    assert list(before) == ["result.json"] and not half_written(tmp_path)
    (tmp_path / "result.json").write_text('{"minutes": 2, "default": 0.5}')
    assert fingerprint(tmp_path) == before
    (tmp_path / "result.json").write_text('{"minutes": 2, "default": 0.6}')
    assert fingerprint(tmp_path) != before
    (tmp_path / "result.json").write_text('{"minutes": 2, "def')
    assert half_written(tmp_path)
