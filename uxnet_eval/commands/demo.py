"""``uxnet demo``: the whole path on generated data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything is written.")] = Path("demo"),
) -> None:
    """Show the whole path on generated data: two trials through NNI, the best one exported and drawn.

    Takes some minutes on two processor cores and prints where everything is.

    Example: uxnet demo
    """
    from ..demo import run_demo

    run_demo(folder)
