"""``uxnet plan``: from a data set to a run configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import Data, progress_bar, refuse_existing


def plan(
    data: Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The run configuration to write, such as X.run.yml.")
    ],
    memory_gib: Annotated[
        float | None,
        typer.Option(help="Memory the search may use, in GiB; unless given, that of the GPU or machine."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
) -> None:
    """Choose spacing, patch size, strides, normalisation and batch size from the data.

    Reads every training case once and writes a run configuration: YAML, with every choice spelled out, to
    be edited by hand if you know better.

    Example: uxnet plan data/Task04_Hippocampus -o experiments/mine.run.yml
    """
    refuse_existing(output, force)
    from ..dataset import msd
    from ..dataset.find import find_dataset
    from ..planning import fingerprint
    from ..planning import rules as planning

    folder = find_dataset(data)
    with progress_bar("reading the cases") as progress:
        measured = fingerprint.measure(msd.read_dataset(folder), progress=progress)
    planning.write_run_config(data, planning.make_plan(measured, memory_gib), output, overwrite=force)
    typer.echo(f"wrote {output}; next: uxnet search --config {output} --output runs/first")
