"""``uxnet contest``: a search or one of its controls, nested in cross-validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..runs.names import FINAL_FOLDER
from .console import RunOutput, Settings


def contest(
    config: Annotated[Path, typer.Option(help="The contest's configuration, X.contest.run.yml.")],
    output: RunOutput = None,
    searches: Annotated[
        Path | None,
        typer.Option(
            help="Folder of searches that several runs share; with search_seed, runs of several seeds do."
        ),
    ] = None,
    settings: Settings = None,
) -> None:
    """Run one contender: propose, choose on an inner fold, train, score on an outer fold.

    Each contender has the same budget of multiply-adds and as many trainings to choose by. NNI's
    trials run this command too: an experiment varies contender, outer_fold and seed. The same
    command goes on where it stopped.

    Example: uxnet contest --config mine.contest.run.yml --set contender=random --output runs/random
    """
    from ..config.overrides import parse_overrides
    from ..contest.run import run_contest

    folder = run_contest(config, output=output, overrides=parse_overrides(settings or []), searches=searches)
    typer.echo(
        f"results are in {folder}; next: uxnet compare {folder / FINAL_FOLDER} OTHERS/{FINAL_FOLDER} -o comparison"
    )
