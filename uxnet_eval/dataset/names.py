"""Names of cases, classes and channels, which go into file names, tables and the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from search_space.errors import UserError, printable

MAX_BYTES = 200
"""File systems allow 255; temporary names and suffixes are longer than the name."""


def check_names(where: object, role: str, names: Iterable[str]) -> None:
    """Refuses names that cannot be shown or be part of a file name.

    Args:
        where: begins the error message.
        role: what is named: ``case``, ``class``.
        names: the names.

    Raises:
        UserError: a name is empty or too long, or holds control characters or bytes that are no
            text.
    """
    for name in names:
        if not name or printable(name) != name or "\n" in name or "\t" in name:
            raise UserError(
                f"{where}: the {role} {name!r} has a name that is empty or holds control characters or bytes that "
                "are no UTF-8, expected printable text; rename it"
            )
        if len(name.encode()) > MAX_BYTES:
            raise UserError(
                f"{where}: the {role} {name[:40]}... has a name of {len(name.encode())} bytes, expected at most "
                f"{MAX_BYTES}; rename it"
            )
