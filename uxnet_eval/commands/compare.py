"""``uxnet compare``: trainings side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 120
"""Characters of the table where the output is no terminal."""


def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="NNI experiments by id or folder, output folders of trainings, or folders that hold such folders.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for comparison.md, .csv, .json and .png; made if absent."
        ),
    ],
    first: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK",
            help="The row that the others are tested against, by its name in the table or its architecture; "
            "unless given, the searched one.",
        ),
    ] = None,
    each_random: Annotated[
        bool,
        typer.Option("--each-random", help="List every random genotype too, not only all of them together."),
    ] = False,
    primary: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK",
            help="The row whose contrast with the first is tested without correction; choose it before the trainings "
            "end. Unless given, the one that the trainings name (network.primary), else the second row.",
        ),
    ] = None,
    equal: Annotated[
        str | None,
        typer.Option(
            metavar="COST",
            help="The cost that the table claims to be equal: multiply-adds or parameters; unless given, the "
            "trainings' budget.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the results of an earlier comparison.")
    ] = False,
) -> None:
    """Compare trained networks: one table over folds and seeds, and a picture.

    A row for each label or architecture: Dice, cost, time and memory, and its difference from the
    first row with an interval over cases and runs, and tests over cases and over runs. Trainings
    that are not finished are named and left out.

    Example: uxnet compare EXPERIMENT_ID -o comparison
    """
    from ..comparison.display import explanation, terminal_table
    from ..comparison.table import compare as compare_trainings
    from ..comparison.trainings import find_trainings
    from ..comparison.writing import refuse_output, write_comparison

    refuse_output(output, force)
    comparison = compare_trainings(
        find_trainings(sources), first=first, each_random=each_random, primary=primary, equal=equal
    )
    written = write_comparison(comparison, output)
    table_console().print(terminal_table(comparison))
    for sentence in explanation(comparison):
        typer.echo(sentence)
    for note in comparison.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {', '.join(str(path) for path in written)}; next: open the picture")


def table_console() -> Console:
    """A console for wide tables; printing never gets wider than the console."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PIPED_WIDTH)
