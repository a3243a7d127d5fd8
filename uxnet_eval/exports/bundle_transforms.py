"""Transforms of a MONAI bundle: from a scan's file to the input, from logits to a label map.

They do what ``uxnet predict`` does, voxel for voxel. Exported bundles hold a copy of this module.

Legend: C channels, K classes, *S the file's grid, *N the network's grid.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from search_space.errors import UserError

from ..dataset.image_file import read_file, suffixes_for
from ..preprocessing.case_grid import CaseGrid, case_grid, from_network, from_ras, to_network, to_ras

KEPT = ("filename_or_obj", "original_affine", "spatial_shape")
"""Metadata that is kept: the file and its grid."""


def list_scans(folder: str, spatial_dims: int) -> list[str]:
    """The paths of the images in a folder, sorted; raises :class:`UserError` if there are none."""
    suffixes = suffixes_for(spatial_dims)
    found = sorted(str(path) for path in Path(folder).glob("*") if path.name.lower().endswith(suffixes))
    if not found:
        raise UserError(f"{folder}: holds no images ({', '.join(suffixes)}); give --dataset_dir")
    return found


class LoadScand(MapTransform):
    """Reads a file: (C, *S) float32 in the file's own order, with its 4x4 affine.

    Args:
        keys: of paths.
        spatial_dims: of the network, 2 or 3.
        num_channels: C; several are the file's last axis.

    Raises:
        UserError: if the file is unreadable or has other axes or channels.
    """

    def __init__(self, keys: Sequence[str], spatial_dims: int, num_channels: int) -> None:
        super().__init__(keys)
        self.spatial_dims, self.num_channels = spatial_dims, num_channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            path = Path(str(item[key]))
            stored, affine = read_file(path.name, path, self.spatial_dims)
            while stored.ndim > self.spatial_dims + 1 and stored.shape[self.spatial_dims] == 1:
                stored = stored.squeeze(axis=self.spatial_dims)
            image = stored[None] if stored.ndim == self.spatial_dims else np.moveaxis(stored, -1, 0)
            if image.ndim != self.spatial_dims + 1 or len(image) != self.num_channels:
                raise UserError(
                    f"{path}: found an array of shape {stored.shape}, expected {self.spatial_dims} spatial axes and "
                    f"{self.num_channels} channel(s)"
                )
            meta = {
                "filename_or_obj": str(path),
                "original_affine": affine,
                "spatial_shape": np.array(image.shape[1:]),
            }
            values = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
            item[key] = MetaTensor(values, affine=torch.as_tensor(affine, dtype=torch.float64), meta=meta)
        return item


class OrientScand(MapTransform):
    """Brings the voxels of a scan into RAS order; nothing is resampled.

    Args:
        keys: of images that :class:`LoadScand` read.
        spacing_mm: of the network's grid.
    """

    def __init__(self, keys: Sequence[str], spacing_mm: Sequence[float]) -> None:
        super().__init__(keys)
        self.spacing_mm = tuple(spacing_mm)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = _with_meta(to_ras(item[key], grid_of(item[key], self.spacing_mm)), item[key])
        return item


class ResampleScand(OrientScand):
    """Interpolates a scan in RAS order linearly at the voxels of the network's grid."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            grid = grid_of(item[key], self.spacing_mm)
            if grid.is_resampled:
                item[key] = _with_meta(to_network(item[key], grid), item[key])
        return item


class RestoreLabeld(MapTransform):
    """Turns logits (K, *N) into the label map (1, *S) of the scan's own grid.

    Softmax, linear interpolation of each class, the most probable class.

    Args:
        keys: of logits.
        image_key: of the image that they were computed from.
        spacing_mm: of the network's grid.
        label_values: what to store for each class.
    """

    def __init__(
        self,
        keys: Sequence[str],
        spacing_mm: Sequence[float],
        label_values: Sequence[int],
        image_key: str = "image",
    ) -> None:
        super().__init__(keys)
        self.spacing_mm, self.image_key = tuple(spacing_mm), image_key
        self.label_values = np.asarray(label_values, dtype=np.uint8 if max(label_values) <= 255 else np.int32)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        image = item[self.image_key]
        grid = grid_of(image, self.spacing_mm)
        for key in self.key_iterator(item):
            classes = torch.from_numpy(self.label_values[self._classes(item[key], grid)])
            affine = torch.as_tensor(np.array(grid.affine), dtype=torch.float64)
            item[key] = MetaTensor(
                classes[None], affine=affine, meta={name: image.meta[name] for name in KEPT}
            )
        return item

    def _classes(self, logits: torch.Tensor, grid: CaseGrid) -> np.ndarray:
        """Class indices (*S); of equally probable classes the first."""
        plain = logits.as_tensor() if isinstance(logits, MetaTensor) else logits
        values = plain.detach().cpu().float()
        values = (values - values.amax(dim=0)).exp()
        values = values / values.sum(dim=0)
        label = np.zeros(grid.shape, dtype=np.int64)
        best: np.ndarray | None = None
        for k in range(len(values)):
            channel = values[k : k + 1]
            if grid.is_resampled:
                channel = from_network(channel, grid)
            own = from_ras(channel, grid).as_tensor()[0].numpy()
            if best is None:
                best = own
            else:
                label[own > best] = k
                best = np.maximum(best, own)
        return label


class SaveLabeld(MapTransform):
    """Writes label maps (1, *S) of pictures as NIfTI, under the picture's name.

    MONAI's SaveImaged refuses their affine.

    Args:
        keys: of label maps that :class:`RestoreLabeld` made.
        output_dir: the folder to write to; made if absent.
    """

    def __init__(self, keys: Sequence[str], output_dir: str) -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        for key in self.key_iterator(item):
            name = Path(str(item[key].meta["filename_or_obj"])).name.split(".")[0]
            affine = np.asarray(item[key].meta["original_affine"])
            volume = nib.Nifti1Image(item[key].as_tensor()[0].numpy(), affine)
            nib.save(volume, self.output_dir / f"{name}.nii.gz")
        return item


def grid_of(image: MetaTensor, spacing_mm: Sequence[float]) -> CaseGrid:
    """The grids of an image that :class:`LoadScand` read, whatever was done to it since."""
    name = Path(str(image.meta["filename_or_obj"])).name
    affine, shape = (np.asarray(image.meta[key]) for key in ("original_affine", "spatial_shape"))
    return case_grid(name, [int(size) for size in shape], affine, spacing_mm)


def _with_meta(moved: MetaTensor, before: MetaTensor) -> MetaTensor:
    moved.meta.update({name: before.meta[name] for name in KEPT})
    return moved
