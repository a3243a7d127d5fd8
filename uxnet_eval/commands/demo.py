"""``uxnet demo``: the whole path on generated data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything is written; made if absent.")] = Path(
        "demo"
    ),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Only a few steps, to see that everything works; the scores mean nothing."
        ),
    ] = False,
) -> None:
    """Show the whole path on generated data: search, export, draw, train, predict.

    Two NNI trials search. The better architecture is drawn and trained beside the U-Net. This takes
    about eight minutes on two processor cores. The last lines say where everything is and what to
    type next.

    Example: uxnet demo
    """
    from ..demo import run_demo

    run_demo(folder, quick=quick)
