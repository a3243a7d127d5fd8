"""What this process may still allocate, asked before anything is allocated."""

from __future__ import annotations

import psutil

from search_space.errors import UserError

from . import control_groups

GIB = 2**30


def available_bytes() -> int:
    """The memory that is free: of the machine, or of the container or job around this process."""
    free = psutil.virtual_memory().available
    left = control_groups.memory_left()
    return free if left is None else min(free, left)


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
