"""``uxnet plan``: from a data set to a run configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_space.errors import UserError

from .console import Data, progress_bar, refuse_existing

if TYPE_CHECKING:
    from ..dataset.msd import Dataset


LEFT_OUT_FOLD = 0
"""The fold that uxnet train scores unless told otherwise, so that the search should not see it."""


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
    hours: Annotated[
        float | None,
        typer.Option(
            help="Time real steps on this machine, and choose width, patch and all lengths so that search, choice and "
            "training fit these hours; the predictions stand in the file."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
) -> None:
    """Choose spacing, patch size, strides, normalisation, batch size and mirroring from the data.

    Reads every training case once, but for those of fold 0, which uxnet train scores. Writes a run
    configuration: YAML, with every choice spelled out, to be edited by hand if you know better.

    Example: uxnet plan data/Task04_Hippocampus -o experiments/mine.run.yml
    """
    refuse_existing(output, force)
    from ..auto.seen_cases import seen_without
    from ..dataset import msd
    from ..dataset.find import find_dataset
    from ..planning import fingerprint
    from ..planning import rules as planning
    from ..planning.mirroring import mirroring_reason
    from ..planning.nnunet_plans import check_dimensions, read_nnunet_plans

    if hours is not None and like is not None:
        raise UserError("--hours: chooses the patch, which --like takes from nnU-Net; give one of both")
    nnunet = None if like is None else read_nnunet_plans(like, configuration)
    folder = find_dataset(data)
    dataset = msd.read_dataset(folder)
    if nnunet is not None:
        check_dimensions(nnunet, dataset.spatial_dims, data)
    if hours is not None:
        _plan_for_hours(data, dataset, output, hours, memory_gib)
        return
    seen, left_out_fold, reasons = dataset, None, {}
    try:
        seen, left_out_fold = seen_without(dataset, LEFT_OUT_FOLD), LEFT_OUT_FOLD
        reasons["search.left_out_fold"] = "uxnet train scores this fold."
    except UserError as too_few:
        typer.echo(f"note: no fold is left out of plan and search: {too_few}")
    with progress_bar("reading the cases") as progress:
        measured = fingerprint.measure(seen, progress=progress)
    made = planning.make_plan(measured, memory_gib)
    if nnunet is not None:
        made = nnunet.taken_over(made)
    reasons["plan.mirror_axes"] = mirroring_reason(measured)
    planning.write_run_config(
        data, made, output, left_out_fold=left_out_fold, overwrite=force, reasons=reasons
    )
    typer.echo(f"wrote {output}; next: uxnet search --config {output} --output runs/first")


def _plan_for_hours(
    data: str, dataset: Dataset, output: Path, hours: float, memory_gib: float | None
) -> None:
    from ..auto.planning import check_hours, describe, plan_auto, schedule_yaml
    from ..auto.schedule import SEARCHED
    from ..runs.files import write_text
    from ..runs.names import GENOTYPE_NAME

    check_hours(hours)
    with progress_bar("reading the cases") as progress:
        schedule = plan_auto(dataset, hours, memory_gib=memory_gib, progress=progress)
    search = schedule.search.model_copy(update={"dataset": str(data)})
    write_text(output, schedule_yaml(schedule.model_copy(update={"search": search}), hours))
    for line in describe(schedule, hours):
        typer.echo(line)
    trained = schedule.final_config(SEARCHED, GENOTYPE_NAME, schedule.members[0])
    lengths = {name: getattr(trained.train, name) for name in type(schedule.final).model_fields}
    settings = {**lengths, "fold": trained.train.fold, "base_channels": trained.network.base_channels}
    if trained.train.left_out_fold is not None:
        settings["left_out_fold"] = trained.train.left_out_fold
    sets = " ".join(f"--set {name}={value:g}" for name, value in settings.items())
    typer.echo(f"its training: uxnet train --config {output} --architecture {GENOTYPE_NAME} {sets}")
    typer.echo(f"wrote {output}; next: uxnet search --config {output} --output runs/first")
