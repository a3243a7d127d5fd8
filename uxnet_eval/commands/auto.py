"""``uxnet auto``: from a folder of scans to a segmentation network, in one command."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .console import Data

if TYPE_CHECKING:
    from ..auto.record import AutoRecord

PIPED_WIDTH = 140
"""Columns of the tables where the output is no terminal."""


class Stage(str, Enum):
    """What ``--from`` may be."""

    CHECK, PLAN, SEARCH, CHOOSE = "check", "plan", "search", "choose"
    TRAIN, EVALUATE, REPORT = "train", "evaluate", "report"


def auto(
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything; made if absent.")],
    hours: Annotated[
        float | None,
        typer.Option(help="Time for all stages on this machine. Default: 1, or that of the folder."),
    ] = None,
    begin_at: Annotated[
        Stage | None,
        typer.Option(
            "--from", help="Begin at this stage anew; what it and later stages left in the folder is deleted."
        ),
    ] = None,
    unet: Annotated[
        bool,
        typer.Option("--unet/--no-unet", help="Also train the U-Net that sets the budget, to compare."),
    ] = True,
    left_out_fold: Annotated[
        int,
        typer.Option(help="The fold, counted from 0, that is left out until the end and scores the result."),
    ] = 0,
    through_nni: Annotated[
        bool,
        typer.Option(
            "--nni",
            help="Where a stage has several trainings, run them as trials of NNI: its page shows them.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the stages with their predicted minutes and memory; write nothing."
        ),
    ] = False,
) -> None:
    """Search, train and score a network for a folder of scans, in the hours that there are.

    Checks the data, times real steps, and plans so that everything fits. One fold of five is left
    out until the end and scores the result, with the U-Net beside it. The same command goes on
    where it stopped, however that was.

    Example: uxnet auto data/Task04_Hippocampus -o runs/auto --hours 2
    """
    from ..auto.run import dry_run as predict_stages
    from ..auto.run import run_auto

    stage = None if begin_at is None else begin_at.value
    if dry_run:
        for line in predict_stages(
            data,
            output,
            hours=hours,
            with_unet=unet,
            left_out_fold=left_out_fold,
            begin_at=stage,
            through_nni=through_nni,
        ):
            typer.echo(line)
        given = ("" if stage is None else f" --from {stage}") + (
            "" if hours is None else f" --hours {hours:g}"
        )
        given += f" --left-out-fold {left_out_fold}" if left_out_fold else ""
        given += ("" if unet else " --no-unet") + (" --nni" if through_nni else "")
        typer.echo(f"next: uxnet auto {data} -o {output}{given}")
        return
    record = run_auto(
        data,
        output,
        hours=hours,
        with_unet=unet,
        left_out_fold=left_out_fold,
        begin_at=stage,
        through_nni=through_nni,
    )
    print_outcome(output, record)
    typer.echo(f"next: uxnet predict -i SCANS -o LABELS --model {output}")


def print_outcome(output: Path, record: AutoRecord) -> None:
    """Both tables, what they mean, and where everything is."""
    from search_space.reading import read_json

    from ..auto.ensembles import evaluation_folder
    from ..auto.outcome import outcome_table, sentences, stage_table
    from ..auto.trainings import page_of
    from ..runs.names import ARCHITECTURE_NAME, OUTCOME_NAME, OVERLAYS_FOLDER, REPORT_NAME

    outcome = read_json(output / OUTCOME_NAME)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    console.print(stage_table(record))
    console.print(outcome_table(outcome))
    for sentence in sentences(outcome):
        typer.echo(sentence)
    typer.echo(f"architecture:   {output / ARCHITECTURE_NAME}")
    typer.echo(f"segmentations:  {evaluation_folder(output, record.chosen) / OVERLAYS_FOLDER}")
    typer.echo(f"report:         {output / REPORT_NAME}")
    page = page_of(output)
    if page is not None:
        typer.echo(f"NNI's page:     {page[1]}")
        typer.echo(f"end that page:  nnictl stop {page[0]}")
