"""One process at a time in an output folder."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import time
from pathlib import Path
from typing import IO

from search_space.errors import UserError

from ..runs.names import LOCK_NAME
from .trial import is_nni_trial

logger = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""How long a start waits for another process without a word."""


class TrialLock:
    """Keeps two processes from writing into one output folder.

    ``nnictl resume`` starts a trial again in its old folder, while the process of before may still
    run. The lock is the operating system's, bound to the process: it goes when the process ends,
    however it ends, and worker processes do not inherit it. The file ``.lock`` stays and tells who
    held it last.

    Use it as a context manager, or :meth:`acquire` it for the life of the process.

    Args:
        output_dir: the output folder.
        wait_s: seconds to wait for another process; None: 10, and in a trial of NNI without an end,
            because a trial that gives up counts as failed while its work goes on.
    """

    def __init__(self, output_dir: str | os.PathLike[str], wait_s: float | None = None) -> None:
        self.path = Path(output_dir) / LOCK_NAME
        self.wait_s = (math.inf if is_nni_trial() else PATIENCE_S) if wait_s is None else wait_s
        self._file: IO[str] | None = None

    def acquire(self) -> TrialLock:
        """Takes the lock.

        Raises:
            UserError: if another process still holds it after ``wait_s`` seconds.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "a+")  # noqa: SIM115  (open as long as the lock is held)
        started, is_told = time.monotonic(), False
        while True:
            try:
                # POSIX locks, unlike flock, are not shared with forked workers that outlive a
                # killed trial.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                file.seek(0)
                busy = f"{self.path.parent}: {file.read().strip() or 'another process'} still works in this folder"
                waited_s = time.monotonic() - started
                if waited_s > self.wait_s:
                    file.close()
                    raise UserError(f"{busy}; wait for it or end it, then start again") from None
                if waited_s > PATIENCE_S and not is_told:
                    logger.info("%s; waiting until it ends", busy)
                    is_told = True
                time.sleep(0.2)
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}\n")
        file.flush()
        self._file = file
        return self

    def release(self) -> None:
        if self._file is not None:
            self._file.close()  # closing gives a POSIX lock back
            self._file = None

    def __enter__(self) -> TrialLock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
