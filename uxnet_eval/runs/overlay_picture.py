"""A segmentation over its image in three planes: the prediction filled, the reference outlined.

Array legend: *S = H W or D H W of a case in RAS orientation; a view is (H, W) with the top row
first. Colours are those of Okabe and Ito, which stay apart for every common kind of colour
blindness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from .overlays import CLASS_COLORS

WIDTH_PIXELS, MAX_HEIGHT_PIXELS, GAP_PIXELS = 780, 420, 6
"""Size of a picture; a case that is long and thin is as high as may be, and less wide."""


class Plane(NamedTuple):
    """One plane of a case: grey values in 0..1 and class indices, both (H, W), and pixel sizes."""

    gray: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    pixel_mm: tuple[float, float]


def cut_planes(
    image: np.ndarray, reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float]
) -> list[Plane]:
    """The planes of one case for :func:`paint_planes`, as small copies.

    In 3-D these are the axial, coronal and sagittal planes through the largest cross-sections of
    the reference (of the prediction, if the reference is empty), in radiological convention: the
    patient's right is on the left.

    Args:
        image: (*S), one channel; scaled to its 1st and 99th percentile.
        reference: (*S), class indices, 0 background.
        prediction: (*S), class indices.
        spacing_mm: along the axes.
    """
    low, high = np.percentile(image, (1, 99))
    planes = []
    for axis in (2, 1, 0) if image.ndim == 3 else (None,):
        at = _position(reference, prediction, axis)
        view = _view(image, axis, at).astype(np.float32)
        gray = np.clip((view - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
        true, found = (_view(volume, axis, at).astype(np.int32) for volume in (reference, prediction))
        planes.append(Plane(gray, true, found, _pixel_mm(spacing_mm, axis)))
    return planes


def paint_planes(planes: Sequence[Plane]) -> np.ndarray:
    """The planes side by side, uint8 (H, W, 3), at one scale and in true proportions."""
    sizes_mm = [np.multiply(plane.gray.shape, plane.pixel_mm) for plane in planes]
    room = WIDTH_PIXELS - GAP_PIXELS * (len(planes) - 1)
    pixels_per_mm = min(
        room / sum(width for _, width in sizes_mm), MAX_HEIGHT_PIXELS / max(height for height, _ in sizes_mm)
    )
    views = [_paint(plane, pixels_per_mm) for plane in planes]
    height = max(view.shape[0] for view in views)
    padded = []
    for view in views:
        above, missing = divmod(height - view.shape[0], 2)
        padded.append(np.pad(view, ((above, above + missing), (0, GAP_PIXELS), (0, 0))))
    return np.concatenate(padded, axis=1)[:, :-GAP_PIXELS]


def _position(reference: np.ndarray, prediction: np.ndarray, axis: int | None) -> int:
    if axis is None:
        return 0
    for mask in (reference > 0, prediction > 0):
        areas = mask.sum(axis=tuple(other for other in range(mask.ndim) if other != axis))
        if areas.any():
            return int(areas.argmax())
    return reference.shape[axis] // 2


def _view(volume: np.ndarray, axis: int | None, position: int) -> np.ndarray:
    """A plane with the patient's front or head on top; in 2-D the picture as stored."""
    if axis is None:
        return volume.copy()
    return volume.take(position, axis=axis).T[
        ::-1, ::-1
    ]  # the first axis left runs to the left, the second up


def _pixel_mm(spacing_mm: Sequence[float], axis: int | None) -> tuple[float, float]:
    if axis is None:
        return spacing_mm[0], spacing_mm[1]
    width, height = (spacing for number, spacing in enumerate(spacing_mm) if number != axis)
    return height, width


def _paint(plane: Plane, pixels_per_mm: float) -> np.ndarray:
    rows, columns = plane.gray.shape
    height, width = rows * plane.pixel_mm[0] * pixels_per_mm, columns * plane.pixel_mm[1] * pixels_per_mm
    size = max(1, round(width)), max(1, round(height))
    gray = np.asarray(Image.fromarray(plane.gray).resize(size, Image.Resampling.BILINEAR))
    reference, prediction = (
        np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
        for labels in (plane.reference, plane.prediction)
    )
    colored = np.repeat(gray[..., None], 3, axis=2)
    classes = [index for index in np.union1d(reference, prediction) if index > 0]
    for index in classes:
        filled = prediction == index
        colored[filled] = 0.55 * colored[filled] + 0.45 * class_color(index)
    for index in classes:
        colored[find_boundaries(reference == index, mode="inner")] = class_color(index)
    return (255 * np.clip(colored, 0, 1)).round().astype(np.uint8)


def class_color(index: int) -> np.ndarray:
    """Red, green, blue in 0..1 of a foreground class; from the eighth on colours come again."""
    text = CLASS_COLORS[(index - 1) % len(CLASS_COLORS)]
    return np.array([int(text[at : at + 2], 16) for at in (1, 3, 5)], dtype=np.float32) / 255
