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
        typer.Option(help="Memory that the search may use, in GiB. Default: that of the GPU or the machine."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="PLANS",
            help="nnUNetPlans.json of nnU-Net: take its patch, spacing, strides and batch size.",
        ),
    ] = None,
    configuration: Annotated[str, typer.Option(help="The configuration of these plans.")] = "3d_fullres",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
) -> None:
    """Choose spacing, patch size, strides, normalisation, batch size and mirroring from the data.

    Reads every training case once and writes a run configuration: YAML, with every choice spelled
    out, to be edited by hand if you know better.

    Example: uxnet plan data/Task04_Hippocampus -o experiments/mine.run.yml
    """
    refuse_existing(output, force)
    from ..dataset import msd
    from ..dataset.find import find_dataset
    from ..planning import fingerprint
    from ..planning import rules as planning
    from ..planning.mirroring import mirroring_reason
    from ..planning.nnunet_plans import check_dimensions, read_nnunet_plans

    nnunet = None if like is None else read_nnunet_plans(like, configuration)
    folder = find_dataset(data)
    dataset = msd.read_dataset(folder)
    if nnunet is not None:
        check_dimensions(nnunet, dataset.spatial_dims, data)
    with progress_bar("reading the cases") as progress:
        measured = fingerprint.measure(dataset, progress=progress)
    made = planning.make_plan(measured, memory_gib)
    if nnunet is not None:
        made = nnunet.taken_over(made)
    reasons = {"plan.mirror_axes": mirroring_reason(measured)}
    planning.write_run_config(data, made, output, overwrite=force, reasons=reasons)
    typer.echo(f"wrote {output}; next: uxnet search --config {output} --output runs/first")
