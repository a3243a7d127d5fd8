"""The error that a user can correct."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


class UserError(ValueError):
    """An expected error: one line that says what was found, what is allowed, and what to do.

    The command line prints it and exits with 1. Every other exception keeps its traceback. The
    message may hold names and values from files; ``str()`` makes it :func:`printable`.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    r"""The text, with an escape such as ``\x1b`` for everything that a terminal would interpret.

    Escapes replace control characters, bytes that are not text, and characters that reverse the
    writing direction. Line ends, tabs and letters of every script stay.
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
    """A phrase ``" (did you mean 'x'?)"`` with the closest known name; empty if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
