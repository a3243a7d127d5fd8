"""``uxnet report``: one page that shows what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_space.errors import UserError

from ..runs.names import REPORT_NAME


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
        Path, typer.Option("--output", "-o", help="The page to write; an existing one is replaced.")
    ] = Path(REPORT_NAME),
) -> None:
    """Write one HTML page that shows a run; it opens without a network.

    It draws the architecture at every epoch and threshold, the gates, weights and learning curves,
    how far several searches agree, scores and segmentations, as far as SOURCE holds them. Runs that
    are not finished are shown too.

    Example: uxnet report runs/first -o report.html
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{output}: expected a name that ends in .html")
    if not output.absolute().parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist; make it first")
    from ..report import read_source, save_page

    found = read_source(source)
    save_page(found, output)
    for note in found.all_notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {output}; next: open it in a browser")
