"""``uxnet search``: one search in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import FromCheckpoint, RunOutput, Settings


def search(
    config: Annotated[Path, typer.Option(help="The run configuration, X.run.yml.")],
    output: RunOutput = None,
    settings: Settings = None,
    from_checkpoint: FromCheckpoint = None,
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Search as the paper does, without this project's additions to it."),
    ] = False,
) -> None:
    """Run one search in this process, as each NNI trial does.

    Writes genotypes at several thresholds, a checkpoint, the resolved configuration and TensorBoard
    events to the output folder. Ctrl-C stops it and leaves a usable checkpoint.

    search.strategy names how to search; docs/strategies.md lists the eleven strategies.

    Example: uxnet search --config experiments/hippocampus.run.yml --output runs/first --set seed=1
    """
    from strategies.settings import PAPER

    from ..config.overrides import parse_overrides
    from ..search.run import run_search

    overrides = (PAPER if paper else {}) | parse_overrides(settings or [])
    folder = run_search(config, output=output, overrides=overrides, from_checkpoint=from_checkpoint)
    typer.echo(f"results are in {folder}; next: uxnet export {folder} -o genotype.json")
