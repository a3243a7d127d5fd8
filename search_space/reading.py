"""Reads untrusted JSON and YAML within limits; faults in the content are ``ValueError``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from .checksum import without_checksum

MAX_JSON_BYTES = 64 * 2**20
MAX_YAML_BYTES = 2**20
MAX_ALIASES = 20
"""Largest number of aliases (``*name``) in a YAML file; each can double the size of its content."""


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file, without its checksum if it has one.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the file is not JSON in UTF-8, is too large or too deeply nested, has a
            number with thousands of digits, or does not match its checksum.
    """
    text = _read_text(Path(path), MAX_JSON_BYTES)
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("not JSON: nested too deep") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    return without_checksum(values) if isinstance(values, dict) else values


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """The value in a YAML file; the errors are those of :func:`read_json`."""
    return parse_yaml(_read_text(Path(path), MAX_YAML_BYTES))


def parse_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: if the text is not YAML, is too deeply nested, or has too many aliases.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except (TypeError, OverflowError) as error:  # a key that is a list, a number that does not fit
        raise ValueError(str(error)) from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with a limit on aliases."""

    _num_aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._num_aliases += 1
            if self._num_aliases > MAX_ALIASES:
                raise ValueError(f"more than {MAX_ALIASES} aliases; write the values out")
        return super().compose_node(parent, index)


def _read_text(path: Path, max_bytes: int) -> str:
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"larger than {max_bytes // 2**20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
