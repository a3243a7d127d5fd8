"""What the memory of this machine can hold, asked before anything is allocated."""

from __future__ import annotations

import psutil

from search_space.errors import UserError

GIB = 2**30


def refuse_beyond_memory(where: str, what: str, needed_bytes: float, remedy: str) -> None:
    """Refuses what cannot fit.

    Args:
        where: begins the error message.
        what: that needs the memory, with its numbers: ``"an image of 30000x30000x1 voxels"``.
        needed_bytes: at least needed.
        remedy: ends the error message.

    Raises:
        UserError: more is needed than this machine has left.
    """
    available = psutil.virtual_memory().available
    if needed_bytes > available:
        raise UserError(
            f"{where}: {what} needs at least {needed_bytes / GIB:.3g} GiB of memory, expected at most the "
            f"{available / GIB:.3g} GiB that are free; {remedy}"
        )
