"""``uxnet front``: the networks of one search that are best for their cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_space.errors import UserError


def front(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Output folder of a search by measurement, such as strategy: single-path."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A picture to write, .png, or with --trained a table of the trained networks, .csv; an older one is replaced.",
        ),
    ] = None,
    trained: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Trainings of networks of this search (a folder or an NNI experiment): adds their Dice, and the rank "
            "correlation of the search's measure with it. May be repeated.",
        ),
    ] = None,
    why: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How the Dice of the first N measured networks depends on widths, edges and operations. Give the "
            "search's choice.population: the first networks are random, and later ones are not.",
        ),
    ] = None,
) -> None:
    """Show the front of a search: Dice against multiply-adds and parameters.

    Each network of the table is the best of the search at its cost. Dice is the search's own
    measure, not that of a full training; --trained sets the two side by side.

    Example: uxnet front runs/front -o front.png

    Example: uxnet front runs/front --trained runs/trainings

    Example: uxnet front runs/front --why 20
    """
    is_table = output is not None and output.suffix.lower() == ".csv"
    if is_table and not trained:
        raise UserError(f"{output}: a table holds trained networks; name their folder with --trained")
    if output is not None and not is_table and output.suffix.lower() != ".png":
        raise UserError(f"{output}: expected a name that ends in .png or .csv")
    from rich.console import Console

    from ..runs.files import write_bytes, write_text
    from ..runs.front_record import FrontRecord
    from ..search.front_page import effects_table, front_picture, front_table, trained_table

    record = FrontRecord.load(run)
    record.check_latency()
    console = Console()
    console.print(front_table(record))
    if trained:
        from ..comparison.trained_front import rank_correlations, trained_csv, trained_networks

        networks = trained_networks(record, trained)
        console.print(trained_table(networks))
        if output is not None and is_table:
            write_text(output, trained_csv(networks))
            typer.echo(f"wrote {output}")
        for name, (tau, p) in rank_correlations(networks).items():
            typer.echo(
                f"Kendall's tau of {name} and trained Dice: {tau:.2f} (p {p:.3f}, {len(networks)} networks)"
            )
    if why is not None:
        console.print(effects_table(record.effects(why)))
    if not record.is_finished:
        typer.echo("note: the search is not finished; this is the front so far", err=True)
    if output is not None and not is_table:
        write_bytes(output, front_picture(record))
        typer.echo(f"wrote {output}")
    cheapest = record.front()[0].cost.multiply_adds
    typer.echo(f"next: uxnet export {run} -o genotype.json --max-multiply-adds {cheapest}")
