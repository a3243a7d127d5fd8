"""The grids of a case: in its file, in RAS orientation, and as the network sees it.

Legend: d spatial axes, *S their sizes; affines are (d+1)x(d+1), voxel index to mm. The three grids
are the file's own; the same voxels reordered to RAS; and the RAS box cut into voxels of the plan's
spacing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation, SpatialResample

from search_space.errors import UserError

from ..runs.memory import refuse_beyond_memory

SPACING_TOLERANCE = 1e-3
"""An axis whose spacing differs from the plan's by less than this share of it is not resampled."""

AXIS_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))

Rows = tuple[tuple[float, ...], ...]


class CaseGrid(NamedTuple):
    """All that brings a prediction back onto the file's grid.

    It holds plain numbers, so a batch can carry it.
    """

    case_id: str
    shape: tuple[int, ...]
    """Shape of the file's image, without channels."""
    affine: Rows
    """Affine of the file, 4x4 in 2-D too."""
    oriented_affine: Rows
    """Affine of the file's voxels in their d axes; in 2-D the in-plane part
    (:func:`planar_affine`)."""
    ras_shape: tuple[int, ...]
    ras_affine: Rows
    network_shape: tuple[int, ...]
    network_affine: Rows

    @property
    def spatial_dims(self) -> int:
        return len(self.shape)

    @property
    def is_resampled(self) -> bool:
        """Whether the network's grid differs from the file's in more than orientation."""
        return self.network_affine != self.ras_affine or self.network_shape != self.ras_shape


def case_grid(
    case_id: str, shape: Sequence[int], affine: np.ndarray, spacing_mm: Sequence[float]
) -> CaseGrid:
    """The grids of a case.

    The network's grid has the same centre and, to within half a voxel, the same extent (voxel edge
    to voxel edge) as the file's. An axis that has the plan's spacing already keeps its voxels
    exactly.

    Args:
        case_id: for error messages.
        shape: of the file, d sizes.
        affine: of the file, 4x4.
        spacing_mm: the plan's, along the d RAS axes.

    Raises:
        UserError: if shape and spacing differ in their number of axes.
    """
    dims = len(shape)
    if dims != len(spacing_mm):
        raise UserError(
            f"{case_id}: has {dims} spatial axes, but the plan is for {len(spacing_mm)}; plan this data set"
        )
    affine = np.asarray(affine, dtype=np.float64)
    oriented = affine if dims == 3 else planar_affine(affine)
    to_ras = nib.orientations.io_orientation(oriented)
    ras_shape = [0] * dims
    for axis, ras_axis in enumerate(to_ras[:, 0].astype(int)):
        ras_shape[ras_axis] = int(shape[axis])
    ras_affine = oriented @ nib.orientations.inv_ornt_aff(to_ras, shape)
    network_shape, network_affine = _resampled(ras_shape, ras_affine, spacing_mm)
    refuse_beyond_memory(
        case_id,
        f"its image resampled to {list(network_shape)} voxels of {list(spacing_mm)} mm",
        8.0 * math.prod(network_shape),  # the image and its resampled copy, float32
        "mend the spacing in its header or spacing_mm in the plan",
    )
    return CaseGrid(
        case_id=case_id,
        shape=tuple(int(size) for size in shape),
        affine=_rows(affine),
        oriented_affine=_rows(oriented),
        ras_shape=tuple(ras_shape),
        ras_affine=_rows(ras_affine),
        network_shape=network_shape,
        network_affine=_rows(network_affine),
    )


def planar_affine(affine: np.ndarray) -> np.ndarray:
    """The 3x3 affine of a 2-D image from the 4x4 one of its file.

    Keeps the spacing, and the orientation where both axes lie nearest to left-right and front-back;
    a slice of another plane (sagittal, coronal) keeps the order of its file.
    """
    spacing_mm = np.linalg.norm(affine[:3, :2], axis=0)
    nearest_axes = nib.orientations.io_orientation(affine)[:2]
    planar = np.eye(3)
    if set(nearest_axes[:, 0]) == {0.0, 1.0}:
        planar[:2, :2] = 0
        for axis, (world_axis, direction) in enumerate(nearest_axes):
            planar[int(world_axis), axis] = direction * spacing_mm[axis]
        planar[:2, 2] = affine[:2, 3]
    else:
        planar[[0, 1], [0, 1]] = spacing_mm
    return planar


def ras_spacing_mm(grid: CaseGrid) -> np.ndarray:
    """Spacing along the RAS axes before resampling, (d,)."""
    return np.linalg.norm(np.array(grid.ras_affine)[:-1, :-1], axis=0)


def located(array: torch.Tensor, affine: Rows) -> MetaTensor:
    """A tensor with this affine, whatever it had before."""
    plain = array.as_tensor() if isinstance(array, MetaTensor) else array
    return MetaTensor(plain, affine=torch.tensor(affine, dtype=torch.float64))


def to_ras(array: torch.Tensor, grid: CaseGrid) -> MetaTensor:
    """An array (C, *S) of the file's grid with its axes in RAS order."""
    axes = "RAS"[: grid.spatial_dims]
    tensor = located(array, grid.oriented_affine)
    return Orientation(axes, labels=AXIS_LABELS)(tensor)


def from_ras(array: torch.Tensor, grid: CaseGrid) -> MetaTensor:
    """The inverse of :func:`to_ras`."""
    axes = "".join(nib.orientations.aff2axcodes(np.array(grid.oriented_affine), labels=AXIS_LABELS))
    tensor = located(array, grid.ras_affine)
    return Orientation(axes, labels=AXIS_LABELS)(tensor)


def to_network(array: torch.Tensor, grid: CaseGrid) -> MetaTensor:
    """An array (C, *S) of the RAS grid interpolated linearly at the network's voxels."""
    return _resample(array, grid.ras_affine, grid.network_affine, grid.network_shape)


def from_network(array: torch.Tensor, grid: CaseGrid) -> MetaTensor:
    """An array (C, *S) of the network's grid interpolated linearly at the RAS voxels."""
    return _resample(array, grid.network_affine, grid.ras_affine, grid.ras_shape)


def _resample(array: torch.Tensor, source: Rows, target: Rows, shape: tuple[int, ...]) -> MetaTensor:
    tensor = located(array, source)
    resample = SpatialResample(
        mode="bilinear", padding_mode="border", align_corners=False, dtype=torch.float32
    )
    return resample(tensor, dst_affine=torch.tensor(target, dtype=torch.float64), spatial_size=shape)


def _resampled(
    shape: Sequence[int], affine: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of this grid's box at ``spacing_mm``, with the same centre."""
    dims = len(shape)
    scale, new_shape = np.ones(dims), list(shape)
    for axis, given_mm in enumerate(np.linalg.norm(affine[:-1, :-1], axis=0)):
        if abs(given_mm - spacing_mm[axis]) > SPACING_TOLERANCE * spacing_mm[axis]:
            scale[axis] = spacing_mm[axis] / given_mm
            new_shape[axis] = max(1, round(shape[axis] / scale[axis]))
    if np.all(scale == 1):
        return tuple(shape), affine
    to_old_index = np.eye(dims + 1)
    to_old_index[range(dims), range(dims)] = scale
    to_old_index[:-1, -1] = (np.array(shape) - 1) / 2 - scale * (np.array(new_shape) - 1) / 2
    return tuple(new_shape), affine @ to_old_index


def _rows(matrix: np.ndarray) -> Rows:
    return tuple(tuple(float(value) for value in row) for row in matrix)
