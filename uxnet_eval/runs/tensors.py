"""Reads a file of ``torch.save`` that holds tensors and plain values, for a user's command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_space.errors import UserError

from .verified_reading import PickledObjects, load_verified


def read_tensors(path: Path) -> Any:
    """The content of a file that ``torch.save`` wrote, of tensors and plain values alone.

    Raises :class:`UserError`, which begins with the file's name, if it is absent, truncated,
    damaged, or holds pickled objects.
    """
    try:
        return load_verified(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a file of uxnet train") from None
    except PickledObjects as error:
        raise UserError(
            f"{path}: {error}; expected tensors and plain values alone, as uxnet train writes them"
        ) from None
    except ValueError as error:
        raise UserError(
            f"{path}: is truncated, damaged or no checkpoint ({error}); copy it again or train it again"
        ) from None
