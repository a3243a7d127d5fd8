"""``uxnet experiments``: the shipped NNI experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

experiments = typer.Typer(
    help="List the shipped NNI experiments, or copy one to start from.\n\n"
    "Example: uxnet experiments copy hippocampus -o mine",
    no_args_is_help=True,
)


@experiments.command("list")
def list_shipped() -> None:
    """Name the shipped experiments, with one line about each.

    Example: uxnet experiments list
    """
    from ..nni_experiments.shipped import list_experiments

    known = list_experiments()
    width = max(map(len, known))
    for name, description in known.items():
        typer.echo(f"{name:<{width}}  {description}")
    typer.echo(f"next: uxnet experiments copy {next(iter(known))} -o mine")


@experiments.command("copy")
def copy(
    name: Annotated[str, typer.Argument(help="Name of the experiment, see uxnet experiments list.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the copies; made if absent.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Copy an experiment (X.yml), its run configuration (X.run.yml) and the files they name.

    The trials of the copy run in the current folder if the copy lies in it, otherwise in the copy's
    folder. They use this Python.

    Example: uxnet experiments copy hippocampus -o mine
    """
    from ..nni_experiments.shipped import copy_experiment

    copies = copy_experiment(name, output, force=force)
    for path in copies:
        typer.echo(path)
    typer.echo(f"next: uxnet launch {copies[0]} (without guards: nnictl create --config {copies[0]})")
