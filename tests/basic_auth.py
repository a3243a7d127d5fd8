"""The header of HTTP's basic authentication that the door wants."""

from __future__ import annotations

import base64


def basic(password: str) -> str:
    """The value of ``Authorization`` for a token."""
    return "Basic " + base64.b64encode(f"uxnet:{password}".encode()).decode()
