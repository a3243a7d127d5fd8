"""Writing the files of a run, whole or not at all.

:func:`replacing` is the one way: a temporary name beside the target, the content on the disk, a
rename. The writers of text, bytes and JSON are built on it.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from search_space.checksum import with_checksum
from search_space.errors import UserError
from search_space.replacing import leftovers, replacing

__all__ = [
    "full_disk_said",
    "leftovers",
    "replacing",
    "write_bytes",
    "write_files",
    "write_json",
    "write_text",
]


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file of bytes.

    Raises :class:`OSError` if that fails, and then ``path`` is unchanged.
    """
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes a file of UTF-8 text; raises as :func:`write_bytes` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, values: Mapping[str, Any], indent: int = 1) -> None:
    """Writes ``values`` as JSON with their checksum; raises as :func:`write_bytes` does.

    :func:`search_space.reading.read_json` verifies the checksum and leaves it out.
    """
    write_text(path, json.dumps(with_checksum(values), indent=indent) + "\n")


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Writes several files: all are complete before the first takes its place.

    Raises:
        OSError: one cannot be written; then none has been replaced.
    """
    with contextlib.ExitStack() as stack:
        for path, content in reversed(list(contents.items())):  # an exit stack closes the last one first
            stack.enter_context(replacing(path)).write_bytes(content)


@contextlib.contextmanager
def full_disk_said(folder: Path) -> Iterator[None]:
    """A context in which a full disk is one line that says how the run in ``folder`` goes on."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"{folder}: the disk is full; free space, and the same command goes on where it stopped"
        ) from None
