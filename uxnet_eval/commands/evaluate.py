"""``uxnet evaluate``: scores of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..runs.names import CASES_NAME, SUMMARY_NAME
from .console import progress_bar


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="Folder of label maps, each named after its case."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for cases.csv and summary.json; made if absent.")
    ],
    references: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the true label maps, with the same file names."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Instead of references, a data set with dataset.json, whose training labels are used.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VALUE=NAME",
            help="With --references: the class that a label value stands for; repeat it for each class. "
            "Unless given, the values that occur in the references.",
        ),
    ] = None,
    tolerance_mm: Annotated[
        float,
        typer.Option(
            help="Surfaces closer than this agree (NSD). Choose about the difference between two experts."
        ),
    ] = 1.0,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Score only cases with both files; list the others.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite earlier results.")] = False,
) -> None:
    """Score predictions against references: Dice, HD95, surface Dice and volumes.

    The predictions may come from any program that writes NIfTI (or PNG) label maps. Writes every
    case and class to cases.csv, means with 95 % intervals to summary.json, and prints a table.

    Example: uxnet evaluate predicted --references data/Task04_Hippocampus/labelsTr -o scores
    """
    if (references is None) == (dataset is None):
        raise typer.BadParameter("give either --references DIR or --dataset DATA")
    if dataset is not None and label:
        raise typer.BadParameter("--label is for --references; a data set names its classes itself")
    from ..dataset.find import find_dataset
    from ..dataset.label_folder import parse_labels
    from ..dataset.msd import read_dataset
    from ..evaluation import folders as evaluation

    evaluation.refuse_output(output, force)
    truth = references if dataset is None else read_dataset(find_dataset(dataset))
    assert truth is not None
    with progress_bar("scoring the cases") as progress:
        result = evaluation.evaluate_folders(
            truth,
            predictions,
            class_names=parse_labels(label) if label else None,
            tolerance_mm=tolerance_mm,
            allow_missing=allow_missing,
            progress=progress,
        )
    evaluation.write_evaluation(result, output)
    for message in result.summary["warnings"]:
        typer.echo(f"warning: {message}", err=True)
    Console().print(evaluation.summary_table(result.summary))
    typer.echo(evaluation.mean_dice_line(result.summary))
    typer.echo(
        f"wrote {output / CASES_NAME} and {output / SUMMARY_NAME}; next: uxnet report {output} -o report.html"
    )
