"""``uxnet check``: what is broken in a data set."""

from __future__ import annotations

import typer

from search_space.errors import UserError

from .console import Data, progress_bar


def check(data: Data) -> None:
    """Look at every case of a data set and list what is broken.

    Prints one line per fault (the case, what was found, what was expected, what to do) and a
    summary. Notes which cases are of one patient, and whether the folds are given. Changes nothing.
    The exit code is 1 if there is a fault.

    Example: uxnet check data/Task04_Hippocampus
    """
    from ..auto.seen_cases import seen_without
    from ..dataset.check import check_dataset, facts
    from ..dataset.find import find_dataset
    from ..dataset.msd import read_dataset

    folder = find_dataset(data)
    with progress_bar("checking the cases") as progress:
        faults = check_dataset(folder, progress=progress)
    dataset = read_dataset(folder)
    for fact in facts(dataset):
        typer.echo(f"note: {fact}")
    for fault in faults:
        typer.echo(str(fault))
    if faults:
        found = f"{len(faults)} fault{'s' if len(faults) > 1 else ''} found"
        typer.echo(f"{folder}: {found}; next: mend them, then uxnet check {data} again")
        raise typer.Exit(1)
    following = f"uxnet auto {data} -o runs/auto --hours 2"
    try:
        seen_without(dataset, 0)
    except UserError as too_few:
        typer.echo(f"note: {too_few}")
        following = f"uxnet plan {data} -o mine.run.yml"
    typer.echo(f"{folder}: no fault found; next: {following}")
