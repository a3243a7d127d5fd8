"""From a case's files to the network's input, and from its output back to the file's own grid.

Legend: C channels, K classes, *S spatial axes. See :mod:`uxnet_eval.preprocessing.case_grid` for
the three grids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform, NormalizeIntensityd, ScaleIntensityRanged, Transform

from search_space.errors import UserError

from ..config.plan import Plan
from ..dataset.arrays import load_image, load_label
from ..dataset.cases import Case, Dataset
from ..dataset.grids import grid_mismatch
from .augmentation import augmentation
from .case_grid import CaseGrid, case_grid, from_network, from_ras, located, to_network, to_ras

__all__ = [
    "CaseGrid",
    "augmentation",
    "load_arrays",
    "plain_errors",
    "prepare_image",
    "preprocessing",
    "restore_label",
    "restore_logits",
]


def preprocessing(plan: Plan, dataset: Dataset, keys: Sequence[str] = ("image", "label")) -> Compose:
    """The deterministic steps: loads a :class:`Case`, orients it to RAS, normalises, resamples.

    The result of ``preprocessing(plan, dataset)(case)`` is a dict: ``image`` (C, *S) float32 and
    ``label`` (1, *S) uint8 class indices (int16 beyond 256 classes), both MetaTensors with the
    affine of the network's grid; ``case_id``; and ``grid``, the :class:`CaseGrid` that
    :func:`restore_label` wants. Intensities are normalised before resampling, as nnU-Net does, so
    that interpolation at the rim of the body does not change the statistics. Where spacing fits the
    plan, labels stay voxelwise what the file says.

    Args:
        plan: spacing and normalisation.
        dataset: which the case belongs to.
        keys: ``("image",)`` for a case without label.
    """
    if set(keys) - {"image", "label"}:
        raise ValueError(f"keys are {list(keys)}; expected image, label or both")
    steps: list[Transform] = [LoadCase(keys, dataset, plan)]
    if "image" in keys:
        steps += _normalization(plan)
    return Compose([*steps, ToNetworkGrid(keys, dataset.num_classes)])


def prepare_image(
    case_id: str, image: np.ndarray, affine: np.ndarray, plan: Plan
) -> tuple[torch.Tensor, CaseGrid]:
    """An image that is in memory, as :func:`preprocessing` would give it, and its grid.

    Args:
        case_id: for error messages.
        image: (C, *S), in the grid of its file.
        affine: of the file, 4x4.
        plan: spacing and normalisation.

    Returns:
        (C, *N) float32, N being ``grid.network_shape``, and the grid.

    Raises:
        UserError: if image and plan differ in their number of axes.
    """
    grid = case_grid(case_id, image.shape[1:], affine, plan.spacing_mm)
    steps = Compose([*_normalization(plan), ToNetworkGrid(("image",), num_classes=0)])
    # A copy: MONAI normalises in place.
    item = steps({"image": to_ras(torch.tensor(image, dtype=torch.float32), grid), "grid": grid})
    return _plain(item["image"]), grid


class LoadCase(Transform):
    """Reads a :class:`Case` through :mod:`uxnet_eval.dataset.msd` and orients it to RAS.

    Raises:
        UserError: begins with the case id, if a file is at fault or image and label have different
            grids. ``Compose`` wraps it; :func:`plain_errors` takes it out again.
    """

    def __init__(self, keys: Sequence[str], dataset: Dataset, plan: Plan):
        self.keys = tuple(keys)
        self.dataset = dataset
        self.spacing_mm = plan.spacing_mm

    def __call__(self, case: Case) -> dict[str, Any]:
        arrays, affine = load_arrays(case, self.dataset, self.keys)
        shape = next(iter(arrays.values())).shape[1:]
        grid = case_grid(case.case_id, shape, affine, self.spacing_mm)
        item: dict[str, Any] = {key: to_ras(torch.from_numpy(array), grid) for key, array in arrays.items()}
        return {**item, "case_id": case.case_id, "grid": grid}


def load_arrays(
    case: Case, dataset: Dataset, keys: Sequence[str] = ("image", "label")
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A case's ``image`` (C, *S) float32, ``label`` (1, *S) and their 4x4 affine.

    The label is uint8, or int16 beyond 256 classes.

    Raises:
        UserError: begins with the case id, if a file is at fault or image and label have different
            grids.
    """
    arrays, affines = {}, []
    for key in keys:
        if key == "image":
            array, affine = load_image(case, dataset)
        else:
            label, affine = load_label(case, dataset)
            array = label[None].astype(np.uint8 if dataset.num_classes <= 256 else np.int16)
        arrays[key] = array
        affines.append(affine)
    shapes = [array.shape[1:] for array in arrays.values()]
    if len(shapes) == 2:
        mismatch = grid_mismatch(shapes[0], affines[0], shapes[1], affines[1])
        if mismatch:
            raise UserError(f"{case.case_id}: {mismatch}")
    return arrays, affines[0]


class ToNetworkGrid(MapTransform):
    """Resamples image (linear) and label (argmax of each class's linear mask), if needed."""

    def __init__(self, keys: Sequence[str], num_classes: int):
        super().__init__(keys)
        self.num_classes = num_classes

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        item = dict(item)
        grid: CaseGrid = item["grid"]
        for key in self.key_iterator(item):
            if not grid.is_resampled:
                continue
            if key == "image":
                item[key] = to_network(item[key], grid)
            else:
                labels = item[key]
                moved = _largest_class(
                    (to_network((labels == k).float(), grid) for k in range(self.num_classes)), labels.dtype
                )
                item[key] = located(moved, grid.network_affine)
        return item


def _normalization(plan: Plan) -> list[Transform]:
    if plan.normalization == "zscore":
        return [NormalizeIntensityd("image", nonzero=True, channel_wise=True)]
    given = plan.intensity or {}
    lower, upper, mean, std = (given[name] for name in ("lower", "upper", "mean", "std"))
    low, high = (lower - mean) / std, (upper - mean) / std
    return [ScaleIntensityRanged("image", a_min=lower, a_max=upper, b_min=low, b_max=high, clip=True)]


def restore_label(label: torch.Tensor | np.ndarray, grid: CaseGrid) -> tuple[np.ndarray, np.ndarray]:
    """A label of the network's grid in the grid of the case's file.

    Args:
        label: class indices (*S) or (1, *S), of shape ``grid.network_shape``.
        grid: the case's.

    Returns:
        Class indices (*S) of the dtype that was given, in the file's shape and orientation
            (voxelwise the
        same voxels where no resampling was due, else each class interpolated linearly and the
            largest
        taken), and the file's 4x4 affine.

    Raises:
        ValueError: if the label has another shape.
    """
    tensor = _plain(label).reshape(-1, *label.shape[-grid.spatial_dims :])
    _check_shape(tensor, grid, num_channels=1)
    if grid.is_resampled:
        classes = torch.unique(tensor)  # only classes that occur can win
        tensor = classes[
            _largest_class((from_network((tensor == k).float(), grid) for k in classes), torch.int64)
        ]
    return _own_grid(tensor, grid)


def restore_logits(logits: torch.Tensor | np.ndarray, grid: CaseGrid) -> tuple[np.ndarray, np.ndarray]:
    """Logits or probabilities of the network's grid as a label in the grid of the case's file.

    Interpolates each class linearly and then takes the largest, which follows boundaries more
    closely than restoring the argmax.

    Args:
        logits: (K, *S), of shape ``grid.network_shape``.
        grid: the case's.

    Returns:
        uint8 class indices (*S) (int16 beyond 256 classes), and the file's 4x4 affine.
    """
    tensor = _plain(logits)
    _check_shape(tensor, grid, num_channels=None)
    dtype = torch.uint8 if len(tensor) <= 256 else torch.int16
    channels = (channel[None].float() for channel in tensor)
    if grid.is_resampled:
        channels = (from_network(channel, grid) for channel in channels)
    return _own_grid(_largest_class(channels, dtype), grid)


@contextmanager
def plain_errors() -> Iterator[None]:
    """A context that raises a :class:`UserError` that MONAI's ``Compose`` wrapped."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from None
            cause = cause.__cause__
        raise


def _largest_class(channels: Iterable[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """Argmax (1, *S) over channels (1, *S).

    The channels are made one at a time, so K of them need not fit the memory.
    """
    best: torch.Tensor | None = None
    winner: torch.Tensor | None = None
    for k, channel in enumerate(channels):
        values = _plain(channel)
        if best is None or winner is None:
            best, winner = values, torch.zeros(values.shape, dtype=dtype)
        else:
            winner = torch.where(values > best, torch.tensor(k, dtype=dtype), winner)
            best = torch.maximum(best, values)
    assert winner is not None
    return winner


def _plain(array: torch.Tensor | np.ndarray) -> torch.Tensor:
    tensor = array.as_tensor() if isinstance(array, MetaTensor) else torch.as_tensor(array)
    return tensor.detach().cpu()


def _check_shape(tensor: torch.Tensor, grid: CaseGrid, num_channels: int | None) -> None:
    if tensor.shape[1:] != grid.network_shape or (num_channels or len(tensor)) != len(tensor):
        raise ValueError(
            f"{grid.case_id}: found an array of shape {tuple(tensor.shape)}; expected "
            f"{num_channels or 'classes'} x {grid.network_shape}, the case's shape in the network's grid"
        )


def _own_grid(tensor: torch.Tensor, grid: CaseGrid) -> tuple[np.ndarray, np.ndarray]:
    array = _plain(from_ras(tensor, grid))[0].numpy()
    return np.ascontiguousarray(array), np.array(grid.affine)
