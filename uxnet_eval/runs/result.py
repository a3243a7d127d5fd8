"""The final numbers of a run, ``result.json``: a run that has them is done."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from search_space.errors import UserError
from search_space.reading import read_json

from .names import RESULT_NAME


def read_result(folder: Path, keys: Collection[str] = ()) -> dict[str, Any]:
    """The result of the run in ``folder``.

    Args:
        folder: of the run.
        keys: that must be there.

    Raises:
        UserError: if it is absent or damaged, or a key is missing.
    """
    path = folder / RESULT_NAME
    try:
        result = read_json(path)
        if not isinstance(result, dict) or not set(keys) <= result.keys():
            raise ValueError("numbers are missing")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); the run is not done") from None
    except ValueError as error:
        raise UserError(
            f"{path}: the result is damaged ({error}); delete it, and the same command goes on from the last "
            "checkpoint to make it again"
        ) from None
    return result
