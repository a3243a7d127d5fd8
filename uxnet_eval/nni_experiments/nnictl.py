"""``nnictl`` as a process: one at a time, with the token of the door, safe from Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from search_space.errors import UserError

from ..nni_guards.door import netrc_text
from .records import nni_folder

NNICTL = (sys.executable, "-m", "uxnet_eval.nni_guards.patient_nnictl")
NNICTL_TIMEOUT_S = 180.0


@contextlib.contextmanager
def token_for_nnictl(environment: dict[str, str]) -> Iterator[None]:
    """A context whose environment makes nnictl present the token to its manager."""
    with tempfile.TemporaryDirectory() as folder:  # for this user alone
        file = Path(folder) / "netrc"
        file.write_text(netrc_text(environment["UXNET_DOOR_TOKEN"]))
        environment["NETRC"] = str(file)
        yield


def nnictl(arguments: list[str], environment: dict[str, str], lock: int | None = None) -> str:
    """What nnictl prints, without colours.

    Args:
        arguments: of nnictl.
        environment: of it and what it starts.
        lock: an open lock that it holds too, if this process dies.

    Raises:
        UserError: if it fails or hangs.
    """
    # In a session of its own: Ctrl-C at the wrong moment would leave a manager that NNI does not
    # know of.
    process = subprocess.Popen(
        [*NNICTL, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        pass_fds=() if lock is None else (lock,),
    )
    try:
        output, _ = process.communicate(timeout=NNICTL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise UserError(f"nnictl {arguments[0]} did not end within {NNICTL_TIMEOUT_S:.0f} s") from None
    output = re.sub(r"\x1b\[[0-9;]*m", "", output)
    if process.returncode != 0:
        raise UserError(f"nnictl {arguments[0]} failed: {last_line(output)}")
    return output


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[list[int]]:
    """Within, Ctrl-C is only noted, in the list (in the main thread, the only one that gets it)."""
    pressed: list[int] = []
    try:
        before = signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    except ValueError:  # not the main thread
        yield pressed
        return
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def last_line(output: str) -> str:
    """The last line of an output that names a fault, or its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    faults = [line for line in lines if re.search(r"error|fail|not ", line, re.IGNORECASE)]
    return (faults or lines or ["nothing"])[-1]


@contextlib.contextmanager
def one_launch_at_a_time() -> Iterator[int]:
    """Two launches of one user that pick the same port would both talk to the first manager.

    Gives the lock, for :func:`nnictl`, which goes on when this process is killed.
    """
    folder = nni_folder()
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(folder / ".uxnet-launch.lock", "w"))
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be written to ({error.strerror}), and NNI keeps its list of experiments there; "
                "set HOME to a folder that can be written to"
            ) from None
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
