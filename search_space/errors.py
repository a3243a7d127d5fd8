"""The error that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """An expected error: one line that says what was found, what is allowed, and what to do.

    The command line prints it and exits with 1; every other exception keeps its traceback.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """A phrase ``" (did you mean 'x'?)"`` for the known name closest to ``name``; empty if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
