"""Runs a command of ``uxnet`` in a forked process, which has everything imported and can be killed at will."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST_S = 30.0
"""Processor time of a command; a busy machine is not its fault."""
LONGEST_WAIT_S = 600.0
"""After which a command is given up."""
LARGEST_GIB = 2.0
"""Of the whole process, the imported libraries included."""


@dataclass(frozen=True)
class Outcome:
    """What became of a command; ``code`` is negative if a signal ended it, None if it was given up."""

    code: int | None
    output: str
    seconds: float
    peak_gib: float
    processor_s: float = 0.0
    is_short: bool = True

    @property
    def fault(self) -> str:
        """What a user should not see; empty if nothing."""
        if self.code is None:
            return f"took more than {self.seconds:.0f} s"
        if self.is_short and self.processor_s > LONGEST_S:
            return f"took {self.processor_s:.0f} s of the processor"
        if self.peak_gib > LARGEST_GIB:
            return f"took {self.peak_gib:.1f} GiB"
        if "Traceback (most recent call last)" in self.output:
            return "a traceback"
        lines = [
            line
            for line in self.output.splitlines()
            if line.startswith(("uxnet: error: ", "uxnet: failed: "))
        ]
        if self.code == 1 and not lines and not re.search(r"\d+ faults? found", self.output):
            return "no line that says what is wrong"
        if len(lines) > 1:
            return "more than one line of error"
        if self.code not in (0, 1, 2, -signal.SIGKILL):
            return f"exit code {self.code}"
        return ""


def import_everything() -> None:
    """Loads what the commands import when they run, so that each forked process starts at once."""
    import torch

    import uxnet_eval.contest.run
    import uxnet_eval.dataset.check
    import uxnet_eval.planning.rules
    import uxnet_eval.prediction.folder_prediction
    import uxnet_eval.search.export
    import uxnet_eval.search.run
    import uxnet_eval.training.run  # noqa: F401

    torch.set_num_threads(1)  # a process that has forked must not share a pool of threads


def run(
    arguments: Sequence[str | Path],
    folder: Path,
    *,
    kill_after_s: float | None = None,
    is_short: bool = True,
    prepare: Callable[[], None] | None = None,
) -> Outcome:
    """Runs ``uxnet ARGUMENTS`` in ``folder``.

    Args:
        arguments: of the command line.
        folder: the current one for the command.
        kill_after_s: when SIGKILL comes; None: never.
        is_short: it should take less than ``LONGEST_S``.
        prepare: called in the new process before the command, to install faults.
    """
    return Running(arguments, folder, is_short=is_short, prepare=prepare).ended(kill_after_s)


class Running:
    """A command that has been started; the arguments are those of :func:`run`."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        folder: Path,
        *,
        is_short: bool = False,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._log, self._is_short = tempfile.TemporaryFile(), is_short  # noqa: SIM115  (closed when it ends)
        sys.stdout.flush()
        sys.stderr.flush()
        self._started = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python's on forking beside threads
            self.pid = os.fork()
        if self.pid == 0:
            os._exit(_child(arguments, folder, self._log.fileno(), prepare))

    def send(self, signal_number: int) -> None:
        """Sends a signal; it may have ended already, and then nothing happens."""
        os.kill(self.pid, signal_number)  # not waited for yet, so the number is still its own

    def ended(self, kill_after_s: float | None = None) -> Outcome:
        """Waits for the end; SIGKILL comes ``kill_after_s`` after the start, None: never."""
        limit_s = LONGEST_WAIT_S if kill_after_s is None else kill_after_s
        ended, status, usage = os.wait4(self.pid, os.WNOHANG)
        while not ended and time.monotonic() - self._started < limit_s:
            time.sleep(0.002)
            ended, status, usage = os.wait4(self.pid, os.WNOHANG)
        if not ended:
            os.kill(self.pid, signal.SIGKILL)
            _, status, usage = os.wait4(self.pid, 0)
        seconds = time.monotonic() - self._started
        with self._log as log:
            log.seek(0)
            output = log.read().decode(errors="replace")
        took_too_long = not ended and kill_after_s is None
        code = None if took_too_long else os.waitstatus_to_exitcode(status)
        processor_s = usage.ru_utime + usage.ru_stime
        return Outcome(code, output, seconds, usage.ru_maxrss / 2**20, processor_s, self._is_short)


def _child(
    arguments: Sequence[str | Path], folder: Path, log: int, prepare: Callable[[], None] | None
) -> int:
    code = 70
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
        os.chdir(folder)
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        from uxnet_eval import cli

        sys.argv = ["uxnet", *map(str, arguments)]
        if prepare is not None:
            prepare()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    return code
