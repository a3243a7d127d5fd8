"""What this process may still allocate, asked before anything is allocated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from search_space.errors import UserError

GIB = 2**30
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
V2_FILES = ("memory.max", "memory.current", "inactive_file")
V1_FILES = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""The files of the limit and of the use; the row of ``memory.stat`` that counts unused cache."""


def available_bytes() -> int:
    """The memory that is free for this process.

    That of the machine, or what is left of the smallest limit of a container, a Slurm job or a
    service around this process (Linux control groups, versions 1 and 2): psutil does not know of
    them, and a process beyond them is killed.
    """
    return max(0, min([psutil.virtual_memory().available, *_left_in_cgroups()]))


def refuse_beyond_memory(where: str, what: str, needed_bytes: float, remedy: str) -> None:
    """Refuses what cannot fit.

    Args:
        where: begins the error message.
        what: that needs the memory, with its numbers: ``"an image of 30000x30000x1 voxels"``.
        needed_bytes: at least needed.
        remedy: ends the error message.

    Raises:
        UserError: more is needed than this process may have.
    """
    available = available_bytes()
    if needed_bytes > available:
        raise UserError(
            f"{where}: {what} needs at least {needed_bytes / GIB:.3g} GiB of memory, expected at most the "
            f"{available / GIB:.3g} GiB that are free; {remedy}"
        )


def _left_in_cgroups() -> Iterator[int]:
    """What is left in each control group with a limit that this process is in, directly or not."""
    if not OWN_CGROUPS.is_file():
        return
    for line in OWN_CGROUPS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, files = CGROUPS, V2_FILES
        elif "memory" in controllers.split(","):
            top, files = CGROUPS / "memory", V1_FILES
        else:
            continue
        group = top / path.lstrip("/")
        # A container may be its own top, but read a path of the machine: the top alone exists.
        for folder in (group, *group.parents[: len(group.parts) - len(top.parts)]):
            left = _left_in(folder, *files)
            if left is not None:
                yield left


def _left_in(group: Path, limit_file: str, use_file: str, cache_row: str) -> int | None:
    """Limit less use, the cache that can be given back not counted; None if there is no limit."""
    try:
        limit = (group / limit_file).read_text().strip()
        if limit == "max":
            return None
        rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(limit) - int((group / use_file).read_text()) + int(rows[cache_row])
    except FileNotFoundError:  # the top of version 2 has no limit; a container hides what is around it
        return None
