"""``uxnet derive``: genotypes at several thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
        typer.Option(
            help="Keep edges whose gate is at least this; repeat it for several. Default: 0.5, 0.6, 0.75, 0.9."
        ),
    ] = None,
    unet_operations: Annotated[
        bool,
        typer.Option(
            "--unet-operations",
            help="Also write each genotype's edges with the U-Net's operations, to see what the searched operations add.",
        ),
    ] = False,
    unet_edges: Annotated[
        bool,
        typer.Option(
            "--unet-edges",
            help="Also write the U-Net's edges with each genotype's operations, to see what the searched edges add.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite genotypes that exist.")] = False,
) -> None:
    """Write the genotypes of searches at several thresholds, to compare them by training.

    Prints the line for the search space of an experiment that trains each, such as
    experiments/hippocampus.select.yml.

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
    typer.echo(
        "next: uxnet experiments copy hippocampus.select -o mine, and put the line above into its file"
    )
