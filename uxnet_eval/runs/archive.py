"""Checks a file of ``torch.save``, a zip archive, by the CRC-32 of each of its entries."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
import time
import zipfile
from pathlib import Path
from typing import BinaryIO

from isal.isal_zlib import crc32  # the CRC-32 of zlib, with the processor's own instructions: 7 times as fast

LARGEST_OVERHEAD = 2**20
CLOCK_TICK_NS = 10**9
"""A file that changed so lately can change again without another time of change."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of what follows it
_UTF_8 = 0x800
"""The flag of an entry whose name is UTF-8."""
_ENCODED = 0x61
"""The flags of encrypted entries and of patches."""
_POPULATE_READ = 22
"""Linux's ``MADV_POPULATE_READ``, which Python 3.13 has no name for."""

_verified: set[tuple[int, ...]] = set()


def check_archive(path: Path) -> None:
    """Reads every byte once and compares the checksums.

    ``torch.load`` does not look at them: a flipped bit would change the weights without a word. A
    file that this process has verified, and that has not changed since, is not read again.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, cut short or no such archive, or unpacks to more than it holds.
    """
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        identity = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if identity in _verified:
            return
        entries = entries_of(file)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            _read_from_disk(mapped)
            with memoryview(mapped) as content:
                for entry in entries:
                    start = start_of(entry, file)
                    with content[start : start + entry.file_size] as stored:
                        if len(stored) < entry.file_size or crc32(stored) != entry.CRC:
                            raise wrong_checksum(entry)
    if time.time_ns() - state.st_ctime_ns > CLOCK_TICK_NS:
        _verified.add(identity)


def entries_of(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """What the directory of an archive lists.

    Raises :class:`ValueError` if it is none of ``torch.save``, or unpacks to more than it holds.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise ValueError(f"damaged or cut short ({error})") from None
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > os.fstat(file.fileno()).st_size + LARGEST_OVERHEAD:
        raise ValueError(f"unpacks to {unpacked} bytes, more than the file holds")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCODED:
            raise ValueError(
                f"damaged: {entry.filename} is compressed or encrypted, which torch.save does not do"
            )
    return entries


def start_of(entry: zipfile.ZipInfo, file: BinaryIO) -> int:
    """Where the bytes of an entry begin; raises :class:`ValueError` if its own header is wrong."""
    encoding = "utf-8" if entry.flag_bits & _UTF_8 else "cp437"
    expected = entry.orig_filename.encode(encoding)
    file.seek(max(0, entry.header_offset))  # below 0 if the directory is damaged
    header = file.read(_LOCAL_HEADER.size + len(expected))
    if len(header) == _LOCAL_HEADER.size + len(expected) and entry.compress_size == entry.file_size:
        signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(header)
        if signature == b"PK\3\4" and name_length == len(expected) and header.endswith(expected):
            return entry.header_offset + len(header) + int(extra_length)
    raise wrong_checksum(entry)


def wrong_checksum(entry: zipfile.ZipInfo) -> ValueError:
    """The error of an entry that is not as ``torch.save`` wrote it."""
    return ValueError(f"damaged: the checksum of {entry.filename} is wrong")


def _read_from_disk(mapped: mmap.mmap) -> None:
    """Brings the file into memory, so that a failing disk is an :class:`OSError` and no signal."""
    if not hasattr(mapped, "madvise"):  # Windows
        return
    with contextlib.suppress(ValueError):
        try:
            mapped.madvise(_POPULATE_READ)
        except OSError as error:
            if error.errno == errno.EINVAL:  # Linux before 5.14, macOS
                return
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from None
