"""One process at a time in an output folder."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from search_space.errors import UserError

from ..runs.names import LOCK_NAME


class TrialLock:
    """Keeps two processes from writing into one output folder.

    ``nnictl resume`` starts a trial again in its old folder, while the process of before may still
    run. The lock is the operating system's, bound to the process: it goes when the process ends,
    however it ends, and worker processes do not inherit it. The file ``.lock`` stays and tells who
    held it last.

    Use it as a context manager, or :meth:`acquire` it for the life of the process.
    """

    def __init__(self, output_dir: str | os.PathLike[str], wait_s: float = 10.0) -> None:
        self.path = Path(output_dir) / LOCK_NAME
        self.wait_s = wait_s
        self._file: IO[str] | None = None

    def acquire(self) -> TrialLock:
        """Takes the lock.

        Raises:
            UserError: if another process still holds it after ``wait_s`` seconds.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "a+")  # noqa: SIM115  (open as long as the lock is held)
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                # POSIX locks, unlike flock, are not shared with forked workers that outlive a
                # killed trial.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    file.seek(0)
                    holder = file.read().strip() or "another process"
                    file.close()
                    raise UserError(
                        f"{self.path.parent}: {holder} still works in this folder; "
                        "wait for it or end it, then start again"
                    ) from None
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
