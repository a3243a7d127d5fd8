"""Which of the processes of one run this process is; light, so that the command line may ask."""

from __future__ import annotations

import os


def is_helper() -> bool:
    """Whether this is a process that Lightning started for a further device, or on a further node.

    The first process alone writes, logs and talks to NNI.
    """
    return any(int(os.environ.get(name) or 0) > 0 for name in ("LOCAL_RANK", "NODE_RANK"))
