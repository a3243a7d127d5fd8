"""Images and labels as arrays, and what is wrong with them.

Array legend: C channels, *S the spatial axes in the file's order: X Y Z, X Y, or rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from search_space.errors import UserError

from .cases import Case, Dataset
from .grids import channel_mismatch
from .image_file import first_of, read_file, times

WHOLE_TOLERANCE = 1e-4
"""A stored label this close to a whole number counts as whole: header scaling leaves errors."""


def load_image(case: Case, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The image as float32 (C, *S) and its 4x4 float64 affine (voxel to mm), oriented as stored.

    PNG and JPEG have no affine: it is the identity.

    Raises:
        UserError: begins with the case id; a file is absent, unreadable or truncated, has a
            singular affine, other channels than ``dataset.json`` declares, or holds NaN or
            infinity; or the files of the channels lie on different grids.
    """
    channels: list[np.ndarray] = []
    grid: tuple[tuple[int, ...], np.ndarray] | None = None
    for path, names in channels_of_files(case, dataset):
        stored, affine = read_file(case.case_id, path, dataset.spatial_dims)
        image, faults = image_with_faults(stored, dataset, names)
        grid = grid or (image.shape[1:], affine)
        if not faults:
            mismatch = channel_mismatch(case.image.name, *grid, image.shape[1:], affine)
            faults = [mismatch] if mismatch else []
        if faults:
            raise UserError(f"{case.case_id}: {path}: {faults[0]}")
        channels.append(image)
    assert grid is not None
    return channels[0] if len(channels) == 1 else np.concatenate(channels), grid[1]


def channels_of_files(case: Case, dataset: Dataset) -> list[tuple[Path, Sequence[str]]]:
    """Each file of the image with the names of the channels that it holds."""
    if not case.further_channels:
        return [(case.image, dataset.channel_names)]
    return [(path, [name]) for path, name in zip(case.images, dataset.channel_names, strict=True)]


def load_label(case: Case, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The label as int64 class indices (*S) and its 4x4 float64 affine, oriented as stored.

    Raises:
        UserError: begins with the case id; the case has no label, or the file is absent, unreadable
            or truncated, has a singular affine, several channels, fractional or undeclared values.
    """
    if case.label is None:
        raise UserError(f"{case.case_id}: has no label; only the cases under 'training' have one")
    stored, affine = read_file(case.case_id, case.label, dataset.spatial_dims, is_label=True)
    label, faults = label_with_faults(stored, dataset)
    if faults:
        raise UserError(f"{case.case_id}: {case.label}: {faults[0]}")
    return label, affine


def image_with_faults(
    stored: np.ndarray, dataset: Dataset, channel_names: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """A stored image (*S) or (*S, C) as float32 (C, *S), and its faults.

    ``channel_names`` are those that the file should hold.
    """
    dims = dataset.spatial_dims
    if stored.ndim > dims + 1:  # NIfTI puts channels on the fourth or fifth axis, after axes of length 1
        while stored.ndim > dims + 1 and stored.shape[dims] == 1:
            stored = stored.squeeze(axis=dims)
    if stored.ndim not in (dims, dims + 1):
        return stored, [
            f"found an array of shape {times(stored.shape)}, expected {dims} spatial axes and at most one of "
            f"channels; mend the file, or tensorImageSize in dataset.json"
        ]
    image = stored[None] if stored.ndim == dims else np.moveaxis(stored, -1, 0)
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is reported
        image = np.ascontiguousarray(image, dtype=np.float32)
    faults = []
    if image.shape[0] != len(channel_names):
        faults.append(
            f"found {image.shape[0]} channels (stored shape {times(stored.shape)}), expected "
            f"{len(channel_names)} ({', '.join(channel_names)}); mend the image, or the channels in dataset.json"
        )
    num_bad = image.size - np.count_nonzero(np.isfinite(image))
    if num_bad:
        faults.append(
            f"found NaN or infinity in {num_bad} of {image.size} voxels, expected finite intensities; "
            "export the image again or replace these values"
        )
    return image, faults


def label_with_faults(
    stored: np.ndarray, dataset: Dataset, declared_by: str = "under labels in dataset.json"
) -> tuple[np.ndarray, list[str]]:
    """A stored label (*S) as int64 class indices (*S), and its faults.

    ``declared_by`` ends the advice about an undeclared value.
    """
    dims = dataset.spatial_dims
    while stored.ndim > dims and stored.shape[-1] == 1:
        stored = stored.squeeze(axis=-1)
    if stored.ndim != dims:
        return stored, [
            f"found an array of shape {times(stored.shape)}, expected a label of {dims} axes and no channels; "
            "write one value for each voxel"
        ]
    with np.errstate(invalid="ignore"):
        whole = np.rint(stored)
        fractional = ~(np.abs(stored - whole) <= WHOLE_TOLERANCE)  # so that NaN is fractional too
    highest = dataset.label_values[-1]
    class_of_value = np.full(highest + 2, -1)  # the last entry stands for every value outside 0..highest
    class_of_value[list(dataset.label_values)] = np.arange(dataset.num_classes)
    outside = ~((whole >= 0) & (whole <= highest))
    label = class_of_value[np.where(outside, highest + 1, whole).astype(np.int64)]
    faults = []
    if fractional.any():
        faults.append(
            f"found fractional label values ({first_of(np.unique(stored[fractional]))}), expected whole ones; "
            "if the label was resampled, repeat it with nearest neighbours"
        )
    undeclared = ~fractional & (label < 0)
    if undeclared.any():
        declared = ", ".join(str(value) for value in dataset.label_values)
        faults.append(
            f"found undeclared label values ({first_of(np.unique(whole[undeclared]))}), expected {declared}; "
            f"mend the label, or declare them {declared_by}"
        )
    return label, faults
