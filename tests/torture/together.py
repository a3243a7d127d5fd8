"""Two processes that want one folder: at once, and while the first one is stopped (SIGSTOP)."""

from __future__ import annotations

import fcntl
import random
import shutil
import signal
import time
from pathlib import Path

from uxnet_eval.runs.names import LOCK_NAME

from .campaign import Tally, Undisturbed, compare
from .processes import Outcome, Running
from .runs import half_written

BUSY = "still works in this folder"
"""What a start says while another process has the folder."""


def start_twice(case: Undisturbed, number: int, scratch: Path, rng: random.Random, tally: Tally) -> None:
    """Starts a second process beside the first; in about half of the tries the first one is then killed."""
    for _ in range(number):
        output = scratch / "shared"
        shutil.rmtree(output, ignore_errors=True)
        later_s, is_killed = rng.uniform(0, case.seconds / 2), rng.random() < 0.5
        first = Running(case.subject.arguments(output), case.subject.place)
        time.sleep(later_s)
        second = Running(case.subject.arguments(output), case.subject.place)
        if is_killed:
            time.sleep(rng.uniform(0, case.seconds / 2))
            first.send(signal.SIGKILL)
        outcomes = first.ended(), second.ended()
        tally.kills += outcomes[0].code == -signal.SIGKILL
        what = f"{case.subject.command}, a second start after {later_s:.2f} s"
        what += ", the first one killed" if is_killed else ""
        tally.add(what, *(_unexpected(outcome) for outcome in outcomes), *half_written(output))
        compare(case, output, f"{what}, gone on", tally)


def stop_for_a_while(case: Undisturbed, number: int, scratch: Path, rng: random.Random, tally: Tally) -> None:
    """Stops a process as Ctrl-Z does, starts another one, and lets the first one go on.

    If the stopped one has the folder, it keeps it: the second start is refused, and names it.
    """
    for _ in range(number):
        output = scratch / "stopped"
        shutil.rmtree(output, ignore_errors=True)
        moment_s = rng.uniform(0, case.seconds)
        first = Running(case.subject.arguments(output), case.subject.place)
        time.sleep(moment_s)
        first.send(signal.SIGSTOP)
        holder = _holder(output / LOCK_NAME)
        second = Running(case.subject.arguments(output), case.subject.place).ended()
        halves = half_written(output) if output.exists() else []
        first.send(signal.SIGCONT)
        what = f"{case.subject.command} stopped after {moment_s:.2f} s"
        faults = [_unexpected(second), _unexpected(first.ended()), *halves]
        if holder and not (second.code == 1 and f"{holder} {BUSY}" in second.output):
            faults.append(f"the second start took its folder, or did not name it: {second.output[-300:]}")
        tally.add(what, *faults)
        compare(case, output, f"{what}, gone on", tally)


def _holder(lock: Path) -> str:
    """What a refused start calls the process that holds a lock; empty if none does."""
    if not lock.exists():
        return ""
    with lock.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # closing the file gives it back
        except OSError:
            return file.read().strip() or "another process"
    return ""


def _unexpected(outcome: Outcome) -> str:
    """What is wrong with one of two processes; that it is refused the folder is right."""
    if outcome.fault or outcome.code in (0, -signal.SIGKILL) or BUSY in outcome.output:
        return outcome.fault
    return f"exit code {outcome.code}: {outcome.output[-300:]}"
