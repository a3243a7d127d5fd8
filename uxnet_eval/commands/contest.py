"""``uxnet contest``: a search or one of its controls, nested in cross-validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def contest(
    config: Annotated[Path, typer.Option(help="The contest's configuration, X.contest.run.yml.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for the results; an NNI trial has its own.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Replace one setting of the configuration; may be repeated."
        ),
    ] = None,
) -> None:
    """Let a search or one of its controls propose, choose on an inner fold, train, and be scored on an outer fold.

    Each contender has the same budget of multiply-adds and as many trainings to choose by. NNI's trials run this
    command too: an experiment varies contender, outer_fold and seed. The same command goes on where it stopped.

    Example: uxnet contest --config experiments/hippocampus.contest.run.yml --set contender=random --output runs/random
    """
    from ..config.overrides import parse_overrides
    from ..contest.run import run_contest

    folder = run_contest(config, output=output, overrides=parse_overrides(settings or []))
    typer.echo(f"results are in {folder}; next: uxnet compare {folder / 'final'} OTHERS/final -o comparison")
