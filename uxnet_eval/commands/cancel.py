"""``uxnet cancel``: ends an experiment."""

from __future__ import annotations

from typing import Annotated

import typer


def cancel(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="Folder of an experiment on SLURM, or an NNI experiment's id."),
    ],
) -> None:
    """End the trials of an experiment that wait or run; results stay.

    uxnet launch --resume SOURCE goes on with them.

    Example: uxnet cancel ~/nni-experiments/k3x9f2ab
    """
    from pathlib import Path

    from ..slurm.record import is_slurm_experiment

    if is_slurm_experiment(Path(source)):
        from ..slurm.launch import cancel as cancel_jobs

        count = cancel_jobs(Path(source))
        typer.echo(f"{count} trials ended" if count else "no trial waits or runs")
    else:
        from ..nni_experiments.launch import stop

        stop(source)
        typer.echo(f"experiment {source} does not run any more")
    typer.echo(f"next: uxnet launch --resume {source} goes on with them")
