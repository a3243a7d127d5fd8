"""The fingerprint: a data set in numbers.

:mod:`uxnet_eval.planning.rules` makes the plan from it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from search_space.errors import UserError
from search_space.strict import StrictConfig

from ..dataset.msd import Dataset
from ..preprocessing.case_grid import CaseGrid, case_grid, ras_spacing_mm
from ..preprocessing.transforms import load_arrays

MIN_SPREAD_VOXELS = 0.5
"""Least spread of a foreground along an axis: it may lie in one slice."""

ROUNDING_VOXELS = 1e-6
"""Centres of classes that lie no further apart count as equal."""

SAMPLED_VOXELS = 10_000
"""Foreground voxels of each case that enter the intensity statistics, evenly spread; every case
counts alike."""


class AxisStatistics(StrictConfig):
    """A quantity over the cases, along each axis of the RAS-oriented images."""

    minimum: tuple[float, ...]
    percentile_10: tuple[float, ...]
    median: tuple[float, ...]
    percentile_90: tuple[float, ...]
    maximum: tuple[float, ...]


class ChannelIntensity(StrictConfig):
    """Intensities of one channel over the foreground of all cases."""

    channel: str
    mean: float
    std: float
    percentile_0_5: float
    percentile_99_5: float


class ClassSize(StrictConfig):
    """How large a class is, and how often it occurs."""

    name: str
    num_cases: int
    """Cases that hold the class."""
    mean_voxels: float
    """Over these cases; 0 if there are none."""
    mean_mm3: float
    """Over these cases (mm2 in 2-D); 0 if there are none."""
    volume_fraction: float
    """Share of all voxels of the data set, 0 to 1."""


class ClassOrder(StrictConfig):
    """How the centres of two classes lie to each other along the axes of RAS-oriented images."""

    first: str
    second: str
    num_cases: int
    """Cases that hold both."""
    share_after: tuple[float, ...]
    """Share of these cases in which the second class lies after the first, along each axis; equal
    centres count half."""
    distance_sd: tuple[float, ...]
    """Median distance of the centres along each axis, in standard deviations of the case's
    foreground."""


class Fingerprint(StrictConfig):
    """A data set in numbers."""

    name: str
    spatial_dims: int
    num_cases: int
    channel_names: tuple[str, ...]
    spacing_mm: AxisStatistics
    shape_voxels: AxisStatistics
    extent_mm: AxisStatistics
    """Shape times spacing, case by case."""
    intensity: tuple[ChannelIntensity, ...]
    """One for each channel."""
    classes: tuple[ClassSize, ...]
    """One for each class, background first."""
    class_orders: tuple[ClassOrder, ...] = ()
    """One for each pair of foreground classes that occur together in a case."""

    @property
    def num_classes(self) -> int:
        """Classes, background included."""
        return len(self.classes)


def measure(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Fingerprint:
    """The fingerprint of a data set's training cases; reads each of them once, one at a time.

    Args:
        dataset: the data set.
        progress: called after each case with the number of cases read and their total.

    Raises:
        UserError: begins with the case id, if a file is at fault; or if no case has any foreground.
    """
    num_classes = dataset.num_classes
    shapes, spacings = [], []
    voxels = np.zeros((len(dataset.cases), num_classes))  # of each class in each case
    foreground: list[np.ndarray] = []
    # Along RAS axes, in voxels: each class's centre, and the spread of the whole foreground.
    centres = np.full((len(dataset.cases), num_classes, dataset.spatial_dims), np.nan)
    spreads = np.full((len(dataset.cases), dataset.spatial_dims), np.nan)
    for number, case in enumerate(dataset.cases):
        arrays, affine = load_arrays(case, dataset)
        image, label = arrays["image"], arrays["label"][0]
        grid = case_grid(case.case_id, label.shape, affine, (1.0,) * label.ndim)  # for its RAS part alone
        shapes.append(grid.ras_shape)
        spacings.append(ras_spacing_mm(grid))
        voxels[number] = np.bincount(label.ravel(), minlength=num_classes)
        inside = np.flatnonzero(label)
        chosen = inside[np.linspace(0, len(inside) - 1, min(len(inside), SAMPLED_VOXELS)).astype(int)]
        foreground.append(image.reshape(len(image), -1)[:, chosen])
        centres[number], spreads[number] = _positions(label, inside, voxels[number], grid)
        if progress is not None:
            progress(number + 1, len(dataset.cases))
    intensities = np.concatenate(foreground, axis=1)
    if not intensities.shape[1]:
        raise UserError(
            f"{dataset.name}: found no foreground in any of {len(dataset.cases)} labels, expected some; mend "
            "the labels"
        )
    shape_array, spacing_array = np.array(shapes, dtype=float), np.array(spacings)
    return Fingerprint(
        name=dataset.name,
        spatial_dims=dataset.spatial_dims,
        num_cases=len(dataset.cases),
        channel_names=dataset.channel_names,
        spacing_mm=_axis_statistics(spacing_array),
        shape_voxels=_axis_statistics(shape_array),
        extent_mm=_axis_statistics(shape_array * spacing_array),
        intensity=tuple(
            _channel_intensity(name, values.astype(np.float64))
            for name, values in zip(dataset.channel_names, intensities, strict=True)
        ),
        classes=tuple(
            _class_size(name, voxels[:, k], np.prod(spacing_array, axis=1), voxels.sum())
            for k, name in enumerate(dataset.class_names)
        ),
        class_orders=_class_orders(dataset.class_names, centres, spreads),
    )


def _positions(
    label: np.ndarray, inside: np.ndarray, voxels: np.ndarray, grid: CaseGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Centres (K, d) of the classes and SD (d,) of the foreground along RAS axes, in voxels.

    NaN for a class that does not occur.

    Args:
        label: (*S) in the file's order.
        inside: flat indices of its foreground.
        voxels: of each class, (K,).
        grid: the case's.
    """
    centres = np.full((len(voxels), label.ndim), np.nan)
    spread = np.full(label.ndim, np.nan)
    if not len(inside):
        return centres, spread
    classes = label.ravel()[inside]
    for axis in range(label.ndim):  # one axis at a time: the foreground may be large
        places = inside // math.prod(label.shape[axis + 1 :]) % label.shape[axis]
        sums = np.bincount(classes, weights=places, minlength=len(voxels))
        np.divide(sums, voxels, out=centres[:, axis], where=(voxels > 0) & (np.arange(len(voxels)) > 0))
        spread[axis] = places.std()
    to_ras = np.linalg.solve(np.array(grid.ras_affine), np.array(grid.oriented_affine))
    turn = np.rint(to_ras[:-1, :-1])  # exchanges and turns axes
    return centres @ turn.T + to_ras[:-1, -1], np.abs(turn) @ spread


def _class_orders(names: Sequence[str], centres: np.ndarray, spreads: np.ndarray) -> tuple[ClassOrder, ...]:
    """The order of each pair of foreground classes.

    Args:
        names: of all K classes.
        centres: of each class in each case, (cases, K, d).
        spreads: of the foreground of each case, (cases, d).
    """
    orders = []
    for first, second in itertools.combinations(range(1, len(names)), 2):
        difference = centres[:, second] - centres[:, first]
        both = np.isfinite(difference).all(axis=1)
        if not both.any():
            continue
        difference, spread = difference[both], np.maximum(spreads[both], MIN_SPREAD_VOXELS)
        after = (difference > ROUNDING_VOXELS) + 0.5 * (np.abs(difference) <= ROUNDING_VOXELS)
        orders.append(
            ClassOrder(
                first=names[first],
                second=names[second],
                num_cases=int(both.sum()),
                share_after=tuple(after.mean(axis=0).tolist()),
                distance_sd=tuple(np.median(np.abs(difference) / spread, axis=0).tolist()),
            )
        )
    return tuple(orders)


def _axis_statistics(values: np.ndarray) -> AxisStatistics:
    """Statistics of values (cases, axes), along the cases."""
    rows = np.round(
        np.percentile(values, (0, 10, 50, 90, 100), axis=0), 6
    )  # headers are float32: 0.8000000119
    names = ("minimum", "percentile_10", "median", "percentile_90", "maximum")
    return AxisStatistics(**{name: tuple(row.tolist()) for name, row in zip(names, rows, strict=True)})


def _channel_intensity(name: str, values: np.ndarray) -> ChannelIntensity:
    low, high = np.percentile(values, (0.5, 99.5))
    return ChannelIntensity(
        channel=name,
        mean=float(values.mean()),
        std=float(values.std()),
        percentile_0_5=float(low),
        percentile_99_5=float(high),
    )


def _class_size(name: str, voxels: np.ndarray, voxel_mm3: np.ndarray, total_voxels: float) -> ClassSize:
    """Size of one class, from its voxels in each case and the cases' voxel volumes."""
    present = voxels > 0
    return ClassSize(
        name=name,
        num_cases=int(present.sum()),
        mean_voxels=float(voxels[present].mean()) if present.any() else 0.0,
        mean_mm3=float((voxels * voxel_mm3)[present].mean()) if present.any() else 0.0,
        volume_fraction=float(voxels.sum() / total_voxels),
    )
