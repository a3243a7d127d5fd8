"""Predicting one DICOM series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from search_space.errors import UserError

from .case_prediction import check_ensemble, predict_case
from .dicom import SUFFIX, read_series, write_segmentation
from .windows import Model, WindowSettings


def predict_series(
    folder: Path,
    series_uid: str | None,
    output: Path,
    models: Mapping[Path, Model],
    settings: WindowSettings,
    *,
    largest_component: bool = False,
    overwrite: bool = False,
) -> Path:
    """The DICOM segmentation that was written, ``FOLDER.seg.dcm`` in ``output``.

    Args:
        folder: of the series.
        series_uid: which one, if the folder holds several.
        output: the folder to write to; made if absent.
        models: by the path of their checkpoints.
        settings: of the windows.
        largest_component: of each class keep its largest component alone.
        overwrite: replace a file that is there.

    Raises:
        UserError: the models do not fit together, are not for volumes of one channel, or the series
            is at fault.
    """
    check_ensemble({str(path): model for path, model in models.items()})
    dataset = next(iter(models.values())).dataset
    if dataset.spatial_dims != 3 or dataset.num_channels != 1:
        raise UserError(
            f"{folder}: a DICOM series is a volume of 1 channel, but the checkpoint is for {dataset.spatial_dims}-D images "
            f"of {dataset.num_channels} ({', '.join(dataset.channel_names)}); convert the series to NIfTI and leave "
            "--dicom-seg out"
        )
    path = output / f"{folder.resolve().name}{SUFFIX}"
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; give another folder, or --overwrite")
    series = read_series(folder, series_uid)
    found = predict_case(
        list(models.values()),
        series.image,
        series.affine,
        case_id=series.case_id,
        settings=settings,
        largest_component=largest_component,
    )
    output.mkdir(parents=True, exist_ok=True)
    write_segmentation(path, found.label, series, dataset.class_names)
    return path
