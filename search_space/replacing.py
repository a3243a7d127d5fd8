"""Writing a file whole or not at all: under a temporary name beside its place, then renamed."""

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
    """The temporary name to write to; what stands there takes the place of ``path`` at the end.

    The name is hidden, lies beside ``path`` and ends as ``path`` does (``.seg.1f2e3d4c.part.nii.gz``), because
    some libraries choose the format by the suffix. The content reaches the disk before the file is renamed, so
    ``path`` is complete after a kill or a power cut: the old content or the new one. If the block raises, the
    temporary file is deleted and ``path`` stays as it was. A folder can be written in the same way; it can only
    take the place of an empty one.

    Args:
        path: where the file or folder belongs; the folder that holds it exists.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    path = Path(path)
    stem, suffix = _split(path)
    # Not tempfile.mkstemp, whose files only their owner can read: open() keeps the umask's mode.
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
    """The temporary files for ``path`` that writers left behind because they were killed, or write to now."""
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
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
