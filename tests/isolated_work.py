"""What the tests of isolation run in processes of their own; importing this takes no time."""

from __future__ import annotations

import os


def hold(megabytes: int) -> int:
    """Fills so much memory."""
    return len(bytearray(os.urandom(1024)) * (1024 * megabytes)) >> 20


def fail() -> None:
    raise ValueError("the reason")


def die() -> None:
    os._exit(9)
