"""``uxnet predict``: label maps of new scans."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search_space.errors import UserError

from .console import progress_bar


class Device(str, Enum):
    """What ``--device`` may be."""

    AUTO, CPU, CUDA = "auto", "cpu", "cuda"


class Precision(str, Enum):
    """What ``--precision`` may be."""

    AUTO, FLOAT32, BFLOAT16 = "auto", "float32", "bfloat16"


def predict(
    images: Annotated[
        Path,
        typer.Option(
            "--input",
            "-i",
            metavar="IMAGES",
            help="An image, a folder of images, or a data set with dataset.json (its test cases).",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the label maps; made if absent, outside the input folder."
        ),
    ],
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CKPT",
            help="What uxnet train wrote, or model.onnx or model.pt2 of uxnet export; repeat it for an ensemble, such as "
            "of all folds.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Instead of checkpoints, the folder of uxnet auto (its ensemble) or of uxnet train.",
        ),
    ] = None,
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror",
            help="Average over all mirror images (the plan's mirror_axes): slightly better, up to 8 times slower.",
        ),
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write each class's probability.")
    ] = False,
    largest_component: Annotated[
        bool,
        typer.Option("--largest-component", help="Keep only the largest connected component of each class."),
    ] = False,
    overlap: Annotated[
        float | None,
        typer.Option(
            help="Overlap of neighbouring windows as a fraction of the window, from 0 to below 1. Default: that of the "
            "training's validation."
        ),
    ] = None,
    device: Annotated[
        Device, typer.Option(help="Where the network runs; auto: the GPU if there is one.")
    ] = Device.AUTO,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Number format of the network; auto: bfloat16 if the hardware has it. Default: that of the training.",
        ),
    ] = None,
    window_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Windows per batch. Default: as many as a GPU's memory holds, 1 on a CPU."),
    ] = None,
    training: Annotated[
        bool,
        typer.Option(
            "--training", help="Predict the training cases of a data set instead of its test cases."
        ),
    ] = False,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Predict only this case; repeat it for several."),
    ] = None,
    dicom_seg: Annotated[
        bool,
        typer.Option("--dicom-seg", help="IMAGES is a folder of DICOM files; write a DICOM segmentation."),
    ] = False,
    series: Annotated[
        str | None, typer.Option(metavar="UID", help="Of several DICOM series this one.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Predict finished cases again and replace their files.")
    ] = False,
) -> None:
    """Segment new scans with trained networks.

    Writes one NIfTI label map for each image, in its own grid and orientation and under its name. A
    broken image is named and left out, and the exit code is 1 then. The same command again goes on
    where it stopped.

    Example: uxnet predict -i scans -o segmented --model runs/auto
    """
    if overlap is not None and not 0 <= overlap < 1:
        raise UserError(f"--overlap {overlap:g}: expected a share of at least 0 and below 1, such as 0.5")
    if (model is None) == (not checkpoint):
        raise typer.BadParameter("give either --model FOLDER or --checkpoint CKPT")
    from ..networks.exported import open_model
    from ..prediction.dicom_prediction import predict_series
    from ..prediction.folder_prediction import predict_folder, refuse_output
    from ..prediction.scans import find_scans
    from ..prediction.windows import WindowSettings, fitting_batch_size
    from ..runs.model_file import model_checkpoints

    checkpoints = list(checkpoint or ()) if model is None else model_checkpoints(model)
    refuse_output(output, images)
    if series is not None and not dicom_seg:
        raise UserError("--series: belongs to --dicom-seg; add it, or leave --series out")
    refused = {"--probabilities": probabilities, "--training": training, "--case": bool(case)}
    for name in (name for name, given in refused.items() if given and dicom_seg):
        raise UserError(f"{name}: is not offered with --dicom-seg; leave it out")
    number_format = None if precision is None else precision.value
    models = {path: open_model(path, device.value, number_format) for path in dict.fromkeys(checkpoints)}
    dataset = models[checkpoints[0]].dataset
    if dicom_seg:
        settings = WindowSettings(
            overlap, mirror, window_batch or min(map(fitting_batch_size, models.values()))
        )
        path = predict_series(
            images, series, output, models, settings, largest_component=largest_component, overwrite=overwrite
        )
        typer.echo(f"wrote {path}; next: open it in a DICOM viewer, over its series")
        return
    scans = find_scans(
        images, dataset.channel_names, dataset.spatial_dims, training_cases=training, case_ids=case or ()
    )
    if window_batch is None:
        window_batch = min(fitting_batch_size(each) for each in models.values())
    terminal = Console(stderr=True).is_terminal
    with progress_bar("predicting") as progress:
        outcome = predict_folder(
            scans,
            output,
            models,
            WindowSettings(overlap, mirror, window_batch),
            probabilities=probabilities,
            largest_component=largest_component,
            overwrite=overwrite,
            progress=progress,
            report=None if terminal else lambda line: typer.echo(line, err=True),
        )
    for message in outcome.failures.values():
        typer.echo(f"uxnet: failed: {message}", err=True)
    kept = f", {len(outcome.kept)} finished before and kept (--overwrite predicts them anew)"
    failed = f", {len(outcome.failures)} failed"
    typer.echo(
        f"{len(outcome.predicted)} of {len(scans)} predicted{kept if outcome.kept else ''}"
        f"{failed if outcome.failures else ''}; label maps are in {output}; "
        f"next: uxnet evaluate {output} --references LABELS -o scores"
    )
    if outcome.failures:
        raise typer.Exit(1)
