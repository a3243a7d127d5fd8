"""Commands that set trainings side by side, and derive the genotypes to train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the results of an earlier comparison.")
    ] = False,
) -> None:
    """Compare trained networks: one table over folds and seeds, and a picture.

    A row for each architecture: Dice per class, cost, time, memory, and a paired test per case against the first row.
    Trainings that are not finished are named and left out.

    Example: uxnet compare EXPERIMENT_ID -o comparison
    """
    from rich.console import Console

    from ..comparison.table import compare as compare_trainings
    from ..comparison.trainings import find_trainings
    from ..comparison.writing import explanation, refuse_output, terminal_table, write_comparison

    refuse_output(output, force)
    comparison = compare_trainings(find_trainings(sources), first=first, each_random=each_random)
    written = write_comparison(comparison, output)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)  # printing never gets wider than the console
    console.print(terminal_table(comparison))
    for sentence in explanation(comparison):
        typer.echo(sentence)
    for note in comparison.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {', '.join(str(path) for path in written)}")


def derive(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="NNI experiments by id or folder, or output folders of searches."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the genotypes; made if absent.")],
    prune_threshold: Annotated[
        list[float] | None,
        typer.Option(help="May be repeated; unless given, 0.5, 0.6, 0.75 and 0.9."),
    ] = None,
    unet_operations: Annotated[
        bool,
        typer.Option(
            "--unet-operations",
            help="Each genotype's edges with the U-Net's operations as well, to learn what the searched ones are worth.",
        ),
    ] = False,
    unet_edges: Annotated[
        bool,
        typer.Option(
            "--unet-edges",
            help="The U-Net's edges with each genotype's operations as well, to learn what the searched edges are worth.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite genotypes that exist.")] = False,
) -> None:
    """Write the different genotypes of all searches at several thresholds, to choose among them by training.

    Prints the line for the search space of an experiment that trains each, such as experiments/hippocampus.select.yml.

    Example: uxnet derive EXPERIMENT_ID -o genotypes/mine
    """
    from ..search.derivation import THRESHOLDS, architecture_choice, derive_genotypes, write_genotypes

    genotypes, notes = derive_genotypes(
        sources,
        prune_threshold or THRESHOLDS,
        unet_operations=unet_operations,
        unet_edges=unet_edges,
    )
    paths = write_genotypes(genotypes, output, force=force)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    for path, genotype in zip(paths, genotypes.values(), strict=True):
        typer.echo(f"{path}: {len(genotype.edges)} of {len(genotype.grid.edges)} edges")
    typer.echo("for the searchSpace of an experiment, in place of its architectures:")
    typer.echo(f"  architecture: {architecture_choice(paths)}")
