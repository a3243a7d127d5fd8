"""The head of a record on disk: which format it is of, and which version of that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_space.errors import UserError


def without_head(
    values: Any, path: Path, *, format_name: str, version: int, foreign: str, advice: str = ""
) -> dict[str, Any]:
    """The fields of a record but for ``format`` and ``version``, which must be those given.

    Args:
        values: what the file holds.
        path: the file, for messages.
        format_name: expected under ``format``.
        version: expected under ``version``.
        foreign: what to say of a file of another format.
        advice: what to do about another version; begins with a semicolon.

    Raises:
        UserError: if the file is of another format or version.
    """
    if not isinstance(values, dict) or values.get("format") != format_name:
        raise UserError(f"{path}: {foreign}")
    if values.get("version") != version:
        raise UserError(f"{path}: version {values.get('version')!r}, this program reads {version}{advice}")
    return {name: value for name, value in values.items() if name not in ("format", "version")}
