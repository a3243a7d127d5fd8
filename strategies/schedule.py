"""How a learning rate falls."""

from __future__ import annotations

import math


def cosine(progress: float) -> float:
    """The factor of a learning rate that falls from 1 to 0 along half a cosine.

    Args:
        progress: fraction of the steps that are done; 1 and more give 0.
    """
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
