"""Commands that look at a data set or make one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import Data, progress_bar, refuse_existing


def check(data: Data) -> None:
    """Look at every case of a data set and list what is broken.

    Prints one line per fault (the case, what was found, what was expected, what to do) and a summary.
    Changes nothing. The exit code is 1 if there is a fault.

    Example: uxnet check data/Task04_Hippocampus
    """
    from ..config.search import find_dataset
    from ..dataset.check import check_dataset

    folder = find_dataset(data)
    with progress_bar("checking the cases") as progress:
        faults = check_dataset(folder, progress=progress)
    for fault in faults:
        typer.echo(str(fault))
    if faults:
        typer.echo(f"{folder}: {len(faults)} fault{'s' if len(faults) > 1 else ''} found")
        raise typer.Exit(1)
    typer.echo(f"{folder}: no fault found")


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
    from ..config.search import find_dataset
    from ..dataset import msd
    from ..planning import fingerprint
    from ..planning import rules as planning

    folder = find_dataset(data)
    with progress_bar("reading the cases") as progress:
        measured = fingerprint.measure(msd.read_dataset(folder), progress=progress)
    planning.write_run_config(data, planning.make_plan(measured, memory_gib), output, overwrite=force)
    typer.echo(f"wrote {output}; next: uxnet search --config {output} --output runs/first")


def demo_data(
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    cases: Annotated[int, typer.Option(help="Training cases.")] = 24,
    dims: Annotated[int, typer.Option(help="3 for volumes, 2 for images.")] = 3,
    channels: Annotated[int, typer.Option(help="Image channels.")] = 1,
    anisotropic: Annotated[bool, typer.Option("--anisotropic", help="Thick slices.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed makes the same data.")] = 0,
) -> None:
    """Generate a small data set to try things on.

    Writes dataset.json, imagesTr and labelsTr: organs of different size and texture, with noise and
    a bias field, in the layout that every other command reads.

    Example: uxnet demo-data demo/data --cases 24
    """
    from ..dataset.demo_data import make_demo_data

    make_demo_data(
        folder, num_cases=cases, spatial_dims=dims, num_channels=channels, anisotropic=anisotropic, seed=seed
    )
    typer.echo(f"wrote {cases} case(s) to {folder}; next: uxnet plan {folder} -o demo.run.yml")
