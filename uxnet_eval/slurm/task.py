"""What runs on a node: one trial by its experiment's command, stopped in time, queued again."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from search_space.reading import read_json

from ..nni_guards import trial_environment
from ..runs.files import write_json
from ..runs.names import CHECKPOINT_NAME, STATE_NAME
from ..runs.trial_folder import TRIAL_VARIABLE

IGNORED = "trap '' USR1 USR2 TERM"
"""SLURM signals every process of a job; the trial's are this task's to stop. The shell's children
inherit it."""
HIDDEN = ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_JOB_NAME")
"""By these Lightning would take the trial for one of several tasks that SLURM starts itself."""


@dataclass(frozen=True)
class State:
    """How far a trial is, as its task has written it.

    Attributes:
        status: NNI's word.
        attempts: how often it was started.
        node: where it ran last.
        started: when it was started last, seconds since 1970.
        note: why it ended, for people; empty if there is nothing to say.
    """

    status: str = "WAITING"
    attempts: int = 0
    node: str = ""
    started: float = 0.0
    note: str = ""

    @classmethod
    def load(cls, folder: Path) -> State:
        """The state in a trial's folder; that of a new trial if there is none."""
        try:
            return cls(**read_json(folder / STATE_NAME))
        except (OSError, ValueError, TypeError):
            return cls()

    def save(self, folder: Path) -> None:
        write_json(folder / STATE_NAME, asdict(self))


class TrialFailed(RuntimeError):
    """The trial's command ended with an error: SLURM is to know it too."""


class TrialTask:
    """Runs one trial; submitit pickles it and calls it on the node.

    Args:
        command: of the experiment's file, for a shell.
        directory: in which it runs.
        time_limit_s: seconds after which the trial is stopped for the time limit.
        stop_s: seconds that a trial has to stop.
    """

    def __init__(self, command: str, directory: str, time_limit_s: float, stop_s: float) -> None:
        self.command, self.directory = command, directory
        self.time_limit_s, self.stop_s = time_limit_s, stop_s
        self._process: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None}

    def __call__(self, folder: str) -> None:
        """Runs the trial to its end.

        Raises:
            TrialFailed: if its command fails.
        """
        output = Path(folder)
        state = State.load(output)
        state = replace(
            state,
            status="RUNNING",
            attempts=state.attempts + 1,
            node=socket.gethostname(),
            started=time.time(),
            note="",
        )
        state.save(output)
        environment = {name: value for name, value in trial_environment().items() if name not in HIDDEN}
        with (output / "stdout").open("ab") as out, (output / "stderr").open("ab") as err:
            self._process = subprocess.Popen(
                ["/bin/bash", "-c", f"{IGNORED}; {self.command}"],
                cwd=self.directory,
                env={**environment, TRIAL_VARIABLE: folder},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            # Not wait(): a signal's handler that stops the trial would find its lock taken.
            while (code := self._process.poll()) is None:
                time.sleep(0.5)
        if code:
            note = f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"
            replace(state, status="FAILED", note=note).save(output)
            raise TrialFailed(f"{folder}: {note}; see {shlex.quote(str(output / 'stderr'))}")
        replace(state, status="SUCCEEDED").save(output)

    def checkpoint(self, folder: str) -> Any:
        """Stops the trial; submitit calls it at the signal, in the process that runs the trial.

        Returns:
            What is to run when the job starts again; None if starting again would be in vain: the
            time limit came, and nothing was saved since the trial was started.
        """
        from submitit.core.utils import DelayedSubmission

        output = Path(folder)
        self._stop()
        state = State.load(output)
        ran_s = time.time() - state.started
        if ran_s >= self.time_limit_s and not _has_saved(output, state.started):
            note = f"stopped for the time limit after {ran_s:.0f} s, in which it saved nothing; give it more time"
            replace(state, status="FAILED", note=note).save(output)
            return None
        replace(state, status="WAITING", note="stopped by SLURM, queued again").save(output)
        return DelayedSubmission(self, folder)

    def _stop(self) -> None:
        """Asks the trial's processes to stop, then ends them."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            leader = psutil.Process(self._process.pid)
            processes = [leader, *leader.children(recursive=True)]
            os.killpg(self._process.pid, signal.SIGINT)
            _, alive = psutil.wait_procs(processes, timeout=self.stop_s)
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(alive, timeout=5)
        self._process.poll()  # so that it is known to have ended


def _has_saved(folder: Path, since: float) -> bool:
    """Whether a checkpoint in the folder, at any depth, is newer than ``since``."""
    return any(path.stat().st_mtime > since for path in folder.rglob(CHECKPOINT_NAME))
