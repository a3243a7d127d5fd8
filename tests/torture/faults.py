"""Kills and failures aimed at the n-th time that a run touches the disk."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

Action = Literal["count", "kill", "full"]


def kind_of(touch: str) -> str:
    """The kind of a touch of the disk: its name without what differs from run to run and case to case."""
    touch = re.sub(r"\.[0-9a-f]{8}\.part", ".part", touch)
    return re.sub(r"\d+", "#", re.sub(r"events\.out\.tfevents.*", "events.out.tfevents", touch))


class Disk:
    """Counts every write, rename, delete and flush of a process, and strikes at one of them.

    Args:
        action: ``count`` only counts; ``kill`` ends the process with SIGKILL just before the n-th;
            ``full`` lets the n-th and all that need room after it fail as a full disk does.
        number: n, from 1.
        log: a file that gets the names of what was counted, one a line; None: none.
    """

    def __init__(self, action: Action, number: int = 0, log: Path | None = None) -> None:
        self.action, self.number, self.count = action, number, 0
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def touch(self, what: str, needs_room: bool) -> None:
        self.count += 1
        if self._log is not None:
            os.write(self._log, f"{what}\n".encode())
        if self.action == "kill" and self.count == self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == "full" and self.count >= self.number and needs_room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def install(self) -> None:
        """Stands in for the functions of this process that touch the disk."""
        for name, needs_room in (("replace", False), ("fsync", True), ("unlink", False), ("mkdir", True)):
            setattr(os, name, self._counted(getattr(os, name), name, needs_room))
        opened = io.open

        def open_counted(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if not isinstance(file, int) and set(mode) & set("wxa"):
                name = Path(os.fsdecode(file)).name
                self.touch(f"open {name}", needs_room=True)
                return _Counted(opened(file, mode, *rest, **named), name, self)
            return opened(file, mode, *rest, **named)

        import builtins

        io.open = builtins.open = open_counted

    def _counted(self, function: Callable[..., Any], name: str, needs_room: bool) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.touch(name, needs_room)
            return function(*arguments, **named)

        return counted


class _Counted:
    """A file whose writes are counted; half of the one that meets a full disk still gets there."""

    def __init__(self, file: Any, name: str, disk: Disk) -> None:
        self._file, self._name, self._disk = file, name, disk

    def write(self, content: Any) -> Any:
        try:
            self._disk.touch(f"write {self._name}", needs_room=True)
        except OSError:
            self._file.write(content[: len(content) // 2])
            raise
        return self._file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Counted:
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)
