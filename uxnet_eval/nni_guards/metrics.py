"""What may be sent to NNI as a result."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

logger = logging.getLogger(__name__)

_warned_keys: set[str] = set()


def clean_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """``metrics`` as NNI can digest them: flat, plain numbers, all finite.

    A nested result blanks the web UI, and ``#`` or ``//`` in a key stop the tuner, so these are
    errors of the caller. NaN and infinity come up in a long run through no fault of the code: they
    must not end it, but they empty the UI's graphs. Such a key is left out, with one warning;
    ``default``, which NNI needs, becomes 0.0, the worst Dice, with a warning each time.

    Args:
        metrics: a number per key, ``default`` (higher is better) among them.

    Raises:
        ValueError: for a missing ``default``, a key with ``#`` or ``/`` or that is no text, a value
            that is no number.
    """
    if "default" not in metrics:
        raise ValueError(
            f"metrics need a 'default', the score NNI compares; found {', '.join(map(str, metrics))}"
        )
    cleaned: dict[str, float] = {}
    for key, value in metrics.items():
        if not isinstance(key, str) or not key or "#" in key or "/" in key:
            raise ValueError(f"metric key {key!r}: NNI cannot take '#' or '/'; name edges like N0.2-N1.0")
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(f"metric '{key}' is {type(value).__name__}; expected one plain number")
        number = float(value)
        if math.isfinite(number):
            cleaned[key] = int(value) if isinstance(value, int) else number
        elif key == "default":
            logger.warning(
                "THE SCORE OF THIS TRIAL IS %s: the training has diverged; NNI is told 0.0", number
            )
            cleaned[key] = 0.0
        elif key not in _warned_keys:
            _warned_keys.add(key)
            logger.warning("metric '%s' is %s; it is left out of what NNI is told", key, number)
    return cleaned
