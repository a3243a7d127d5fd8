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
    """Show the whole path on generated data: uxnet auto, with NNI's page, and a prediction.

    It plans for seven minutes, or says how long the shortest schedule takes on this machine. It
    ends with the found network beside the U-Net that sets the budget. The last lines say where
    everything is and what to type next. The same command goes on where it stopped.

    Example: uxnet demo
    """
    from ..demo import PREDICTED, RUN, run_demo
    from .auto import print_outcome

    record = run_demo(folder, quick=quick)
    print_outcome(folder / RUN, record)
    if quick:
        typer.echo("These were a few steps: the scores mean nothing. The whole demo: uxnet demo")
    typer.echo(f"a prediction:   {folder / PREDICTED}")
    typer.echo("next: uxnet check DATA, then uxnet auto DATA -o runs/auto --hours 2")
