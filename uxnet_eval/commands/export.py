"""``uxnet export``: the genotype of a search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import refuse_existing


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="An NNI experiment's id, or the output folder of uxnet search."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The genotype to write, JSON.")],
    prune_threshold: Annotated[
        float | None,
        typer.Option(help="Keep edges whose gate is at least this; unless given, the search's own."),
    ] = None,
    trial: Annotated[
        str | None, typer.Option(help="A trial's id; unless given, the experiment's best.")
    ] = None,
    by: Annotated[str, typer.Option(help="The final result by which a trial is the best.")] = "default",
    max_multiply_adds: Annotated[
        float | None,
        typer.Option(help="Take the best network of at most so many multiply-adds (search: single-path)."),
    ] = None,
    max_parameters: Annotated[
        float | None,
        typer.Option(help="Take the best network of at most so many parameters (search: single-path)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
) -> None:
    """Write the architecture that a search found as one JSON file.

    Another prune threshold or another budget needs no new search. More edges stay at a lower threshold.

    Example: uxnet export runs/first -o genotype.json --prune-threshold 0.6

    Example: uxnet export runs/front -o small.json --max-multiply-adds 0.5e9
    """
    refuse_existing(output, force)
    from ..search.export import export_genotype

    genotype, record = export_genotype(
        source,
        prune_threshold=prune_threshold,
        trial=trial,
        by=by,
        max_multiply_adds=max_multiply_adds,
        max_parameters=max_parameters,
    )
    genotype.save(output)
    if record is not None:
        score = "" if record.final is None or by not in record.final else f", {by} {record.final[by]:.4f}"
        typer.echo(f"trial {record.id}{score}")
    num_edges = len(genotype.grid.edges)
    typer.echo(f"{len(genotype.edges)} of {num_edges} edges, {len(genotype.nodes)} nodes")
    typer.echo(f"wrote {output}; next: uxnet draw {output} -o {output.with_suffix('.png')}")
