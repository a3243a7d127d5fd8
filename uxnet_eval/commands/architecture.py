"""Commands about what a search found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_space.errors import UserError

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
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
) -> None:
    """Write the architecture that a search found as one JSON file.

    Another prune threshold needs no new search: more edges stay at a lower one, fewer at a higher one.

    Example: uxnet export runs/first -o genotype.json --prune-threshold 0.6
    """
    refuse_existing(output, force)
    from ..search.export import export_genotype

    genotype, record = export_genotype(source, prune_threshold=prune_threshold, trial=trial, by=by)
    genotype.save(output)
    if record is not None:
        score = "" if record.final is None or by not in record.final else f", {by} {record.final[by]:.4f}"
        typer.echo(f"trial {record.id}{score}")
    num_edges = len(genotype.grid.edges)
    typer.echo(f"{len(genotype.edges)} of {num_edges} edges, {len(genotype.nodes)} nodes")
    typer.echo(f"wrote {output}; next: uxnet draw {output} -o {output.with_suffix('.png')}")


def draw(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A genotype, JSON, or the output folder of uxnet search."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write, .png or .svg.")],
    dims: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=3,
            help="Name a genotype's operations as in 3-D or as in 2-D; 3 unless given. A search knows.",
        ),
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(min=1, help="Of a search: draw this epoch; unless given, the newest.")
    ] = None,
    prune_threshold: Annotated[
        float | None,
        typer.Option(help="Of a search: keep edges whose gate is at least this; unless given, its own."),
    ] = None,
) -> None:
    """Draw a genotype, or the state of a search: its nodes, its edges and the operation of every layer.

    Of a search, thickness and colour of an edge show its gate, and each operation has its weight beside it.

    Example: uxnet draw genotype.json -o architecture.png

    Example: uxnet draw runs/first -o architecture.svg --epoch 10
    """
    if source.is_dir():
        if dims is not None:
            raise UserError(f"{source}: a search knows whether it is 2-D or 3-D; leave --dims out")
        from ..drawing import draw_search_folder

        draw_search_folder(source, output, epoch=epoch, prune_threshold=prune_threshold)
    else:
        if epoch is not None or prune_threshold is not None:
            raise UserError(
                f"{source}: --epoch and --prune-threshold need the output folder of a search; this is a genotype"
            )
        from ..drawing import draw_genotype_file

        draw_genotype_file(source, output, spatial_dims=dims or 3)
    typer.echo(f"wrote {output}")


def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Output folder of a search, a training or an evaluation, a folder that holds several of them, "
            "or an NNI experiment's folder or id.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The page to write; an older one is replaced.")
    ] = Path("report.html"),
) -> None:
    """Write one page, to keep, that shows what happened: HTML that needs no network.

    It draws the architecture at every epoch and threshold, the gates, weights and learning curves, how far several
    searches agree, scores and segmentations, as far as SOURCE holds them. Runs that are not finished are shown too.

    Example: uxnet report runs/first -o report.html
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{output}: expected a name that ends in .html")
    if not output.absolute().parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist; make it first")
    from ..report import find_source, save_page

    found = find_source(source)
    save_page(found, output)
    for note in found.all_notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {output}; open it in a browser")
