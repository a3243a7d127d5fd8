"""Whether two arrays lie on one grid: the same shape, and affines that agree.

Legend: *S spatial axes.
"""

from __future__ import annotations

import numpy as np

from .image_file import times

GRID_TOLERANCE = 1e-3
"""Image and label share a grid if no corner voxel lies further apart than this, in units of the
spacing."""


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


def channel_mismatch(
    first: str,
    shape: tuple[int, ...],
    affine: np.ndarray,
    other_shape: tuple[int, ...],
    other_affine: np.ndarray,
) -> str | None:
    """What differs between the grids of a further channel's file and the first's; None if equal.

    Args:
        first: name of the first channel's file.
        shape: (*S) of the first channel.
        affine: 4x4 of the first channel.
        other_shape: (*S) of the further channel.
        other_affine: 4x4 of the further channel.
    """
    if other_shape == shape and largest_shift_voxels(shape, affine, other_affine) <= GRID_TOLERANCE:
        return None
    return (
        f"lies on another grid than {first} (shapes {times(other_shape)} and {times(shape)}), expected one shape "
        "and affine; resample it to the first channel's grid"
    )


def largest_shift_voxels(shape: tuple[int, ...], affine: np.ndarray, other: np.ndarray) -> float:
    """The largest distance of a corner voxel under both affines, in voxels along each axis."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in (*shape, 1, 1)[:3]])).reshape(3, -1)
    shift_mm = (other - affine)[:3, :3] @ corners + (other - affine)[:3, 3:]
    return float(np.abs(np.linalg.solve(affine[:3, :3], shift_mm)).max())
