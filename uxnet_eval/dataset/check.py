"""``uxnet check``: everything that is wrong with a data set, each fault in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search_space.errors import UserError

from .image_file import read_file, times
from .msd import Case, Dataset, image_with_faults, label_with_faults, read_dataset

MIN_CASES = 3
"""A search needs a validation case and one training case for each of its two halves."""

GRID_TOLERANCE = 1e-3
"""Image and label share a grid if no corner voxel lies further apart than this, in units of the
spacing."""


@dataclass(frozen=True)
class Fault:
    """One thing to mend; ``case_id`` is the data set's name where no single case is to blame."""

    case_id: str
    message: str

    def __str__(self) -> str:
        return f"{self.case_id}: {self.message}"


def check_dataset(folder: str | Path, progress: Callable[[int, int], None] | None = None) -> list[Fault]:
    """Every fault of the data set in ``folder``; empty if it is sound.

    Cases are in the order of ``dataset.json``.

    Opens every listed file, one case at a time, and goes on after a bad one.

    Args:
        folder: holds ``dataset.json``.
        progress: called after each case with the number of cases looked at and their total.

    Raises:
        UserError: ``dataset.json`` cannot be read, so that there is nothing to check.
    """
    dataset = read_dataset(folder)
    faults: list[Fault] = []
    found_classes: set[int] = set()
    num_sound_labels = 0
    all_cases = dataset.cases + dataset.test_cases
    for num_done, case in enumerate(all_cases, start=1):
        messages, classes = _check_case(case, dataset)
        faults += [Fault(case.case_id, message) for message in messages]
        if classes and num_done <= len(dataset.cases):
            found_classes |= classes
            num_sound_labels += 1
        if progress is not None:
            progress(num_done, len(all_cases))
    for value, name in zip(dataset.label_values, dataset.class_names, strict=True):
        if num_sound_labels and dataset.label_values.index(value) not in found_classes:
            faults.append(
                Fault(
                    dataset.name,
                    f"class {name} (label value {value}) occurs in none of {num_sound_labels} sound training "
                    "labels, expected at least one; drop it from labels in dataset.json or mend the labels",
                )
            )
    too_few = too_few_cases(dataset)
    return faults + ([too_few] if too_few else [])


def too_few_cases(dataset: Dataset) -> Fault | None:
    """A fault if there are not enough training cases to split for a search."""
    if len(dataset.cases) >= MIN_CASES:
        return None
    return Fault(
        dataset.name,
        f"found {len(dataset.cases)} training cases, expected at least {MIN_CASES} (one to validate, one for "
        "each half of the search); add cases",
    )


def _check_case(case: Case, dataset: Dataset) -> tuple[list[str], set[int]]:
    """The case's faults, and the classes in its label (none if the label is faulty)."""
    messages: list[str] = []
    shapes, affines = [], []
    classes: set[int] = set()
    dims = dataset.spatial_dims
    for path, with_faults, ndim in (
        (case.image, image_with_faults, dims + 1),
        (case.label, label_with_faults, dims),
    ):
        if path is None:
            continue
        try:
            stored, affine = read_file(case.case_id, path, dims)
        except UserError as error:
            messages.append(str(error).removeprefix(f"{case.case_id}: "))
            continue
        array, faults = with_faults(stored, dataset)
        messages += [f"{path}: {fault}" for fault in faults]
        if path == case.label and not faults:
            classes = set(np.flatnonzero(np.bincount(array.ravel())).tolist())
        if array.ndim == ndim:  # else there is no telling which axes are spatial
            shapes.append(array.shape[-dims:])
            affines.append(affine)
    if len(shapes) == 2:
        mismatch = grid_mismatch(shapes[0], affines[0], shapes[1], affines[1])
        if mismatch:
            messages.append(mismatch)
    return messages, classes


def grid_mismatch(
    image_shape: tuple[int, ...],
    image_affine: np.ndarray,
    label_shape: tuple[int, ...],
    label_affine: np.ndarray,
) -> str | None:
    """What differs between the grids of an image and its label, or ``None`` if they are one.

    Args:
        image_shape: (*S), without channels.
        image_affine: 4x4, voxel to mm.
        label_shape: (*S).
        label_affine: 4x4, voxel to mm.
    """
    if image_shape != label_shape:
        return (
            f"found an image of shape {times(image_shape)} and a label of shape {times(label_shape)}, expected "
            "one shape; resample the label to the image's grid"
        )
    shift_voxels = largest_shift_voxels(image_shape, image_affine, label_affine)
    if shift_voxels > GRID_TOLERANCE:
        return (
            f"found image and label with different affines (corners up to {shift_voxels:.3g} voxels apart), "
            f"expected at most {GRID_TOLERANCE:g}; copy the image's header to the label if they were drawn on "
            "one grid, else resample the label"
        )
    return None


def largest_shift_voxels(shape: tuple[int, ...], affine: np.ndarray, other: np.ndarray) -> float:
    """The largest distance of a corner voxel under both affines, in voxels along each axis."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in (*shape, 1, 1)[:3]])).reshape(3, -1)
    shift_mm = (other - affine)[:3, :3] @ corners + (other - affine)[:3, 3:]
    return float(np.abs(np.linalg.solve(affine[:3, :3], shift_mm)).max())
