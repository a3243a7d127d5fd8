"""The error that a user can mend."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


class UserError(ValueError):
    """An expected error: one line that says what was found, what is allowed, and what to do.

    The command line prints it and exits with 1; every other exception keeps its traceback. Names and values from
    files may be part of it; as text it is :func:`printable`.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    r"""The text without what a terminal would obey: control characters and bytes that are no text become ``\x1b``.

    Line ends and tabs stay, as do letters of every script; characters that reverse the direction do not.
    """
    return "".join(
        character
        if character in "\n\t"
        or (unicodedata.category(character) not in ("Cc", "Cs") and character not in _REVERSING)
        else character.encode("unicode_escape").decode()
        for character in text
    )


_REVERSING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def nearest(name: str, known: Iterable[str]) -> str:
    """A phrase ``" (did you mean 'x'?)"`` for the known name closest to ``name``; empty if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
