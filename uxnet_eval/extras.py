"""Packages that only some commands need, and how to get them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from search_space.errors import UserError


def extra(package: str, name: str, purpose: str) -> ModuleType:
    """The imported ``package``, which the extra ``name`` of this project installs.

    Raises:
        UserError: if it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{purpose}: needs the package '{error.name}'; install it with pip install 'uxnet-search[{name}]'"
        ) from None
