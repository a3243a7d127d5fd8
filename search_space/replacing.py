"""Writes a file completely or not at all: to a temporary file beside it, which is then renamed."""

from __future__ import annotations

import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path to write to; at the end, its content takes the place of ``path``.

    The temporary name is hidden, lies beside ``path`` and has the same suffix
    (``.seg.1f2e3d4c.part.nii.gz``), because some libraries choose the format by the suffix. The
    content reaches the disk before the file is renamed. After a kill or a power cut, ``path``
    therefore holds the old content or the new one, always complete. If the block raises, the
    temporary file is deleted and ``path`` stays as it was. A folder can be written in the same way,
    but it can only replace an empty folder.

    Args:
        path: the file or folder to write; its parent folder exists.

    Raises:
        OSError: if the file cannot be written or renamed.
    """
    path = Path(path)
    stem, suffix = _split(path)
    # With tempfile.mkstemp, only the owner could read the file; open() keeps the umask's mode.
    temporary = path.with_name(f".{stem}.{secrets.token_hex(4)}.part{suffix}")
    try:
        yield temporary
        for written in [temporary, *(temporary.rglob("*") if temporary.is_dir() else ())]:
            _flush(written)
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """The temporary files for ``path``, of killed writers and of writers that still run."""
    stem, suffix = _split(path)
    name = re.compile(re.escape(f".{stem}.") + "[0-9a-f]{8}" + re.escape(f".part{suffix}"))
    found = path.parent.glob(f".{glob.escape(stem)}.*.part{glob.escape(suffix)}")
    return [each for each in found if name.fullmatch(each.name)]


def _split(path: Path) -> tuple[str, str]:
    """The name without its suffixes, and all suffixes."""
    suffix = "".join(path.suffixes)
    return path.name.removesuffix(suffix), suffix


def _flush(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
