"""``uxnet search``: one search in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def search(
    config: Annotated[Path, typer.Option(help="The run configuration, X.run.yml.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for the results. An NNI trial uses its own folder instead.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Replace one setting of the configuration; repeat it for several.",
        ),
    ] = None,
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Search as the paper does, without this project's additions to it."),
    ] = False,
) -> None:
    """Run one search in this process, as each NNI trial does.

    Writes genotypes at several thresholds, a checkpoint, the resolved configuration and TensorBoard
    events to the output folder. Ctrl-C stops it and leaves a usable checkpoint.

    Example: uxnet search --config experiments/hippocampus.run.yml --output runs/first --set seed=1
    """
    from strategies.settings import PAPER

    from ..config.overrides import parse_overrides
    from ..search.run import run_search

    overrides = (PAPER if paper else {}) | parse_overrides(settings or [])
    folder = run_search(config, output=output, overrides=overrides)
    typer.echo(f"results are in {folder}; next: uxnet export {folder} -o genotype.json")
