"""``uxnet front``: the networks of one search that are best for their cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_space.errors import UserError


def front(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Output folder of a search with strategy: single-path.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A picture to write, .png; an older one is replaced."),
    ] = None,
) -> None:
    """Show the front of a search: Dice against multiply-adds and parameters.

    Each network of the table is the best of the search at its cost. Dice is the search's own measure, not that of a
    full training.

    Example: uxnet front runs/front -o front.png
    """
    if output is not None and output.suffix.lower() != ".png":
        raise UserError(f"{output}: expected a name that ends in .png")
    from rich.console import Console

    from ..runs.files import write_bytes
    from ..runs.front_record import FrontRecord
    from ..search.front_page import front_picture, front_table

    record = FrontRecord.load(run)
    Console().print(front_table(record))
    if not record.is_finished:
        typer.echo("note: the search is not finished; this is the front so far", err=True)
    if output is not None:
        write_bytes(output, front_picture(record))
        typer.echo(f"wrote {output}")
    cheapest = record.front()[0].cost.multiply_adds
    typer.echo(f"next: uxnet export {run} -o genotype.json --max-multiply-adds {cheapest}")
