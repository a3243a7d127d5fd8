"""Where a data set lies."""

from __future__ import annotations

import os
from pathlib import Path

from search_space.errors import UserError


def find_dataset(dataset: str, beside: Path | None = None) -> Path:
    """The data set's folder.

    Args:
        dataset: as written in the run configuration.
        beside: the configuration's own folder.

    Raises:
        UserError: if it lies in none of the places looked at, which are named.
    """
    if Path(dataset).is_absolute():
        roots = [Path("/")]
    else:
        given = os.environ.get("UXNET_DATA")
        roots = [*([beside] if beside else []), Path("."), *([Path(given)] if given else []), Path("data")]
    for root in roots:
        if (root / dataset).is_dir():
            return (root / dataset).resolve()
    raise UserError(
        f"dataset '{dataset}' was not found in {', '.join(str(root) for root in roots)}; "
        "put it there, or set UXNET_DATA to the folder that holds it"
    )
