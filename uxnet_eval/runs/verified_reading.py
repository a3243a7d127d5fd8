"""Compares the checksums of a file of ``torch.save`` while ``torch.load`` reads it."""

from __future__ import annotations

import errno
import io
import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from .archive import crc32, entries_of, start_of

CHUNK_BYTES = 2**18
"""Its checksum is computed while it is in the processor's cache."""


class PickledObjects(ValueError):
    """A file holds more than tensors and plain values."""


def load_verified(path: Path) -> Any:
    """The tensors and plain values in a file of ``torch.save``, on the CPU; none of its code runs.

    Raises:
        OSError: the file cannot be read.
        PickledObjects: it holds objects.
        ValueError: a checksum is wrong, or the file is cut short or nothing that ``torch.save``
            writes, or unpacks to more than it holds.
    """
    with path.open("rb", buffering=0) as file:
        reader = _VerifiedFile(file)
        try:
            return _load(cast(BinaryIO, reader))
        finally:  # a wrong checksum may be why PyTorch cannot read it
            reader.check_rest()


def _load(file: BinaryIO) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise PickledObjects(
                "holds pickled objects, which could run code when loaded, and is not opened"
            ) from None
        raise ValueError("PyTorch cannot unpickle it") from None
    except (RuntimeError, EOFError, LookupError, OSError) as error:  # OSError: seeks before the beginning
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError("PyTorch cannot read it") from None


class _VerifiedFile(io.RawIOBase):
    """An archive that ends before an entry whose checksum is wrong.

    A second pass over a large file would cost more than the checksums: its bytes would come from
    memory once more.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._unread = {start_of(entry, file): entry for entry in entries_of(file)}
        self._fault = ""
        self._position = file.seek(0)  # where torch.load looks for an archive

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._position = self._file.seek(offset, whence)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Reads as much as there is, and nothing of an entry whose checksum is wrong."""
        entry = self._unread.get(self._position)
        view = memoryview(buffer)
        if entry is None or entry.file_size != len(view):
            done = self._file.readinto(view)  # type: ignore[attr-defined]
            self._position += done
            return int(done)
        del self._unread[self._position]
        checksum = 0
        for begin in range(0, len(view), CHUNK_BYTES):
            chunk = view[begin : begin + CHUNK_BYTES]
            done = self._file.readinto(chunk)  # type: ignore[attr-defined]
            checksum = crc32(chunk[:done], checksum)
        if checksum != entry.CRC:
            self._fault = self._fault or entry.filename
            return 0
        self._position += len(view)
        return len(view)

    def check_rest(self) -> None:
        """Reads what nothing has read yet.

        Raises :class:`ValueError` if any checksum was or is wrong.
        """
        for start, entry in list(self._unread.items()):
            self.seek(start)
            self.readinto(bytearray(entry.file_size))
        if self._fault:
            raise ValueError(f"damaged: the checksum of {self._fault} is wrong")
