"""Numbers of a report's data, which JSON must be able to hold."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> float | None:
    """The number; None for what is no number, NaN and infinity."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None
