"""Checks a file of ``torch.save``, a zip archive, by the CRC-32 of each of its entries."""

from __future__ import annotations

import zipfile
from pathlib import Path

LARGEST_OVERHEAD = 2**20


def check_archive(path: Path) -> None:
    """Reads every byte once and compares the checksums; takes about a second for a gigabyte.

    ``torch.load`` does not look at them: a flipped bit would change the weights without a word.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, cut short or no such archive, or unpacks to more than it holds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > path.stat().st_size + LARGEST_OVERHEAD:
                raise ValueError(f"unpacks to {unpacked} bytes, more than the file holds")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"damaged or cut short ({error})") from None
    if damaged is not None:
        raise ValueError(f"damaged: the checksum of {damaged} is wrong")
