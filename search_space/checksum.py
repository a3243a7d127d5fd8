"""A checksum within the values of a JSON file: a flipped bit in a number is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CHECKSUM = "content_sha256"
"""The key that holds it. A file without this key, such as one written by hand, is not checked."""


def checksum(values: Mapping[str, Any]) -> str:
    """The SHA-256 of the values as JSON, whatever the order of keys, spaces and line ends."""
    as_read = json.loads(json.dumps(values))  # keys are strings there, tuples are lists
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values and their checksum."""
    return {**values, CHECKSUM: checksum(values)}


def without_checksum(values: dict[str, Any]) -> dict[str, Any]:
    """The values without their checksum, if they have one.

    Raises:
        ValueError: if it is not theirs.
    """
    if CHECKSUM not in values:
        return values
    rest = {key: value for key, value in values.items() if key != CHECKSUM}
    if values[CHECKSUM] != checksum(rest):
        raise ValueError(
            f"does not match its checksum: it is damaged, or was edited (then delete its {CHECKSUM})"
        )
    return rest
