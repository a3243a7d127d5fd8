"""``uxnet auto`` on a disk that fills in its middle: one line, and with room again the same final table."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.auto_runs import planned, tiny_schedule
from tests.test_uxnet_eval_auto import outcome_of, without_minutes

TESTS = Path(__file__).parent
SCRIPT = """
import sys
from pathlib import Path
import uxnet_eval.auto.run
from uxnet_eval.cli import main
from torture.faults import Disk
action, number, log, *arguments = sys.argv[1:]
sys.argv = ["uxnet", *arguments]
Disk(action, int(number), Path(log)).install()
main()
"""
"""``uxnet`` whose n-th touch of the disk, and all after it that need room, find none."""
SHARES = (0.05, 0.3, 0.55, 0.8, 0.98)
"""How far the run is when the disk fills."""


def run(data: Path, folder: Path, action: str, number: int) -> subprocess.CompletedProcess[str]:
    log = folder.with_suffix(".touches")
    command = [sys.executable, "-c", SCRIPT, action, str(number), str(log), "auto", str(data)]
    return subprocess.run(
        [*command, "-o", str(folder)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.mark.slow
@pytest.mark.long
def test_nothing_is_lost_on_a_full_disk(tmp_path: Path, demo_set: Path) -> None:
    start, whole = tmp_path / "start", tmp_path / "whole"
    planned(start, demo_set, tiny_schedule(demo_set, folds=()))
    shutil.copytree(start, whole)
    done = run(demo_set, whole, "count", 0)
    assert done.returncode == 0, done.stderr
    touches = len((tmp_path / "whole.touches").read_text().splitlines())
    for share in SHARES:
        folder = tmp_path / f"full-at-{100 * share:.0f}"
        shutil.copytree(start, folder)
        full = run(demo_set, folder, "full", round(share * touches))
        assert full.returncode == 1, full.stderr
        assert "Traceback" not in full.stderr, full.stderr
        (error,) = [line for line in full.stderr.splitlines() if line.startswith("uxnet: error: ")]
        assert "the disk is full; free space" in error
        again = run(demo_set, folder, "count", 0)
        assert again.returncode == 0, again.stderr
        assert without_minutes(outcome_of(folder)) == without_minutes(outcome_of(whole))
