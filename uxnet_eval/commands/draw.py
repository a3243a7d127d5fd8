"""``uxnet draw``: a picture of an architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_space.errors import UserError


def draw(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A genotype (.json) or the output folder of uxnet search."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write, .png or .svg.")],
    dims: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=3,
            help="For a genotype: name operations as in 3-D or in 2-D. Default: 3.",
        ),
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(min=1, help="For a search: the epoch to draw. Default: the newest.")
    ] = None,
    prune_threshold: Annotated[
        float | None,
        typer.Option(
            help="For a search: keep edges whose gate is at least this. Default: the search's own threshold."
        ),
    ] = None,
) -> None:
    """Draw a genotype or a running search: nodes, edges and the operation of every layer.

    For a search, thickness and colour of an edge show its gate; each operation shows its weight.

    Example: uxnet draw genotype.json -o architecture.png

    Example: uxnet draw runs/first -o architecture.svg --epoch 10
    """
    if source.is_dir():
        if dims is not None:
            raise UserError(f"{source}: a search knows whether it is 2-D or 3-D; leave --dims out")
        from ..drawing import draw_search_folder

        draw_search_folder(source, output, epoch=epoch, prune_threshold=prune_threshold)
        following = f"uxnet export {source} -o genotype.json"
    else:
        if epoch is not None or prune_threshold is not None:
            raise UserError(
                f"{source}: --epoch and --prune-threshold need the output folder of a search; this is a genotype"
            )
        from ..drawing import draw_genotype_file

        draw_genotype_file(source, output, spatial_dims=dims or 3)
        following = f"uxnet train --config RUN.yml --architecture {source} --output runs/trained"
    typer.echo(f"wrote {output}; next: {following}")
