"""Reads a file of ``torch.save`` that holds tensors and plain values; none of its code runs."""

from __future__ import annotations

import errno
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from search_space.errors import UserError

from .archive import check_archive


def read_tensors(path: Path, *, mapped: bool = False) -> Any:
    """The content of a file that ``torch.save`` wrote, of tensors and plain values alone.

    Args:
        path: the file.
        mapped: the tensors stay in the file until they are used, for those who want little of it.

    Raises:
        UserError: begins with the file's name; it is absent, truncated, or holds pickled objects.
    """
    try:
        check_archive(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file of uxnet train") from None
    except ValueError as error:
        if zipfile.is_zipfile(path):  # else PyTorch says what else it is
            raise _damaged(path, f" ({error})") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        if error.errno == errno.EINVAL:  # torch seeks to before the beginning of a truncated archive
            raise _damaged(path) from None
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file of uxnet train") from None
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise UserError(
                f"{path}: holds pickled objects, which could run code when loaded, and is not opened; expected tensors "
                "and plain values alone, as uxnet train writes them"
            ) from None
        raise _damaged(path) from None
    except (RuntimeError, EOFError, ValueError, KeyError):
        raise _damaged(path) from None


def _damaged(path: Path, reason: str = "") -> UserError:
    return UserError(
        f"{path}: is truncated, damaged or no checkpoint{reason}; copy it again or train it again"
    )
