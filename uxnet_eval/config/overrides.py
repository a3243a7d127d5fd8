"""Settings given on the command line: ``--set NAME=VALUE``."""

from __future__ import annotations

from typing import Any

from search_space.errors import UserError
from search_space.reading import parse_yaml


def parse_overrides(settings: list[str]) -> dict[str, Any]:
    """The values of ``NAME=VALUE`` strings.

    Each value is read as YAML (``3``, ``0.5``, ``[64, 64, 32]``, ``true``).

    Raises:
        UserError: if a string has no name or no ``=``, its value is not YAML, or a name comes
            twice.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise UserError(f"--set {setting}: expected NAME=VALUE, such as --set epochs=5")
        if name in values:
            raise UserError(f"--set {setting}: '{name}' is set twice; give it once")
        try:
            values[name] = _number(parse_yaml(text))
        except ValueError:
            raise UserError(f"--set {setting}: the value is not YAML; quote it") from None
    return values


def _number(value: Any) -> Any:
    """``value``, or the number it spells: YAML takes ``1e-3`` (no decimal point) for a string."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
