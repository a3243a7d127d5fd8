"""``uxnet auto`` in a terminal: the bar, the key Ctrl-C, and the same command again."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

import pytest
from auto_runs import planned, tiny_schedule

BAR = re.compile(r"train \(5 of 7\)[^\n]*━")
ESCAPE = "\x1b["
CTRL_C = b"\x03"
TIMEOUT_S = 240.0


def in_terminal(arguments: list[str], press_at: re.Pattern[str] | None = None) -> tuple[str, int]:
    """What a command prints in a terminal of its own, and its exit code; Ctrl-C at a text."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's command in the background ignores it
        os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40")
        os.execv(sys.executable, [sys.executable, "-m", "uxnet_eval.cli", *arguments])
    output, end = "", time.monotonic() + TIMEOUT_S
    try:
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 1.0)[0]:
                continue
            try:
                read = os.read(terminal, 4096)
            except OSError:  # Linux: the command has closed the terminal
                break
            if not read:
                break
            output += read.decode(errors="replace")
            if press_at is not None and press_at.search(output):
                os.write(terminal, CTRL_C)
                press_at = None
        else:
            raise AssertionError(f"no end after {TIMEOUT_S:.0f} s: {output[-2000:]}")
    finally:
        os.close(terminal)  # a command that still runs gets SIGHUP
    return output, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.slow
def test_bar_ctrl_c_and_second_start(demo_set: Path, tmp_path: Path) -> None:
    """The bar shows the stage; Ctrl-C ends in one line; the same command goes on to the table."""
    folder = tmp_path / "auto"
    planned(folder, demo_set, tiny_schedule(demo_set))
    command = ["auto", str(demo_set), "-o", str(folder)]
    output, code = in_terminal(command, press_at=BAR)
    assert code == 130 and ESCAPE in output, output[-2000:]
    last = output.rstrip().splitlines()[-1]
    assert "interrupted" in last and "Traceback" not in output, output[-2000:]
    assert not (folder / "outcome.json").exists()

    output, code = in_terminal(command)
    assert code == 0, output[-2000:]
    assert "stage train (5 of 7)" in output and "stage search" not in output
    assert output.rstrip().splitlines()[-1].startswith("next: uxnet predict -i SCANS")
