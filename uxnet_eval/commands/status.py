"""``uxnet status``: how far the trials of an experiment are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_space.errors import UserError

PIPED_WIDTH = 160
"""Characters of the table where the output is no terminal."""


def status(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Folder of an experiment on SLURM, or an NNI experiment's id or folder."
        ),
    ],
) -> None:
    """Show the trials of an experiment: status, parameters and result of each.

    Example: uxnet status ~/nni-experiments/k3x9f2ab
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..nni_experiments.sources import find_source
    from ..runs.trial_record import best_score, num_ended

    experiment = find_source(source)
    if isinstance(experiment, Path):
        raise UserError(
            f"{source}: is no experiment; give the folder that uxnet launch has printed, or an id of NNI"
        )
    trials = experiment.trials()
    table = Table("trial", "status", "parameters", "result", "note")
    for trial in trials:
        result = "" if trial.final is None else f"{trial.final.get('default', float('nan')):.4f}"
        parameters = ", ".join(f"{name}={value}" for name, value in trial.parameters.items())
        cells = (trial.name.removeprefix("trial "), trial.status, parameters, result, trial.note)
        table.add_row(*map(Text, cells))
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    console.print(table)
    typer.echo(
        f"{num_ended(trials)} of {len(trials)} trials ended, "
        f"{sum(trial.status == 'RUNNING' for trial in trials)} running, best {best_score(trials)}"
    )
    if experiment.error:
        typer.echo(f"note: {experiment.error}", err=True)
    typer.echo(f"next: uxnet report {source} -o report.html")
