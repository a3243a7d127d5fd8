"""``uxnet train``: one network from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..runs.names import BEST_NAME
from .console import FromCheckpoint, RunOutput, Settings


def train(
    config: Annotated[
        Path, typer.Option(help="The run configuration, X.train.run.yml, or that of a search.")
    ],
    architecture: Annotated[
        str | None,
        typer.Option(
            help="A genotype (.json), a preset (preset:unet, preset:unet++, preset:full ...), a baseline (dynunet, "
            "segresnet, u-resnet, monai-unet++, dints), or a control of the configuration's genotype (searched, "
            "all-edges, searched-edges, searched-operations, random:SEED). Default: the configuration's."
        ),
    ] = None,
    output: RunOutput = None,
    settings: Settings = None,
    from_checkpoint: FromCheckpoint = None,
) -> None:
    """Train a network from scratch and score it on the held-out fold.

    Writes the best and the last weights (best.pt, last.pt: all that uxnet predict needs), cases.csv
    and summary.json of the fold's validation cases, the folds, and TensorBoard events. Ctrl-C stops
    it; the same command goes on from its last epoch.

    Example: uxnet train --config mine.run.yml --architecture genotype.json --output runs/mine
    """
    from ..config.overrides import parse_overrides
    from ..training.run import run_training

    folder = run_training(
        config,
        output=output,
        architecture=architecture,
        overrides=parse_overrides(settings or []),
        from_checkpoint=from_checkpoint,
    )
    typer.echo(
        f"results are in {folder}; next: uxnet predict -i IMAGES -o OUT --checkpoint {folder / BEST_NAME}"
    )
