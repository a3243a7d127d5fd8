"""Which of the processes of one run this process is; light, so that the command line may ask."""

from __future__ import annotations

import os


def node_rank() -> int:
    """The number of this machine among those of the run (torchrun calls it GROUP_RANK)."""
    return int(os.environ.get("NODE_RANK") or os.environ.get("GROUP_RANK") or 0)


def local_rank() -> int:
    """The number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK") or 0)


def is_helper() -> bool:
    """Whether this is a process that was started for a further device, or on a further machine.

    The first process alone writes, logs and talks to NNI.
    """
    return node_rank() > 0 or local_rank() > 0
