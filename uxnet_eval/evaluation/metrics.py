"""Agreement of a predicted label with its reference: Dice, HD95, surface Dice, volumes.

Legend: K classes (0 is the background and is not scored), *S spatial axes (two or three).

Definitions, R the reference's voxels of a class and P the predicted ones:

- Dice: 2 |R and P| / (|R| + |P|), counted in whole numbers.
- HD95 in mm: the larger of two 95th percentiles (linear interpolation), that of the distances from
  each border voxel of P to the nearest border voxel of R, and the other way round. A border voxel
  has a face neighbour outside. MONAI's ``compute_hausdorff_distance(percentile=95, spacing=...)``,
  as in Metrics Reloaded; programs that take one percentile of both directions together (medpy) give
  slightly smaller values.
- NSD, normalised surface Dice at a tolerance in mm (Nikolov et al. 2018, arXiv:1809.04430; the
  Decathlon's second metric): the share of both surfaces' area that lies within the tolerance of the
  other surface. The surface elements are those of marching cubes and weigh by their area in mm^2
  (in 2-D, of the contour by length in mm), so thick slices do not distort it. MONAI's
  ``compute_surface_dice(use_subvoxels=True, spacing=...)``.
- Volumes in mm^3; in 2-D these are areas in mm^2.

A mask that touches the edge of the image has its surface there. Policy for empty masks:

- A class in neither R nor P does not occur in this case: Dice, HD95 and NSD are NaN, and every mean
  leaves the case out for this class and says how many it counted. (A score of 1 would let rare
  classes look easy.)
- A class in only one of them is wholly wrong: Dice and NSD are 0, and HD95, which has no worst
  value, is the diagonal of the image in mm, as in the BraTS challenges and as Metrics Reloaded
  advises. (NaN would reward a network for predicting nothing where it is unsure; infinity would
  spoil every mean.)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

EMPTY_POLICY = (
    "Class in neither reference nor prediction: dice, hd95_mm and nsd are empty and not counted. Class in only "
    "one of them: dice 0, nsd 0, hd95_mm the diagonal of the image."
)

DEFAULT_TOLERANCE_MM = 1.0

TOLERANCE_SLACK = 1e-4
"""Relative slack of the tolerance: a rounded affine may turn a distance of 1 mm into 1.00001."""

NUM_DECIMALS = 6
"""Decimals of HD95 and NSD, which MONAI computes in float32."""


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class in one case; NaN if the class is absent (policy above)."""

    class_index: int
    dice: float
    """From 0 to 1."""
    hd95_mm: float
    nsd: float
    """From 0 to 1."""
    reference_volume_mm3: float
    """In 2-D an area in mm^2."""
    predicted_volume_mm3: float
    """In 2-D an area in mm^2."""


def score_case(
    reference: np.ndarray | torch.Tensor,
    prediction: np.ndarray | torch.Tensor,
    spacing_mm: Sequence[float],
    num_classes: int,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
) -> list[ClassScore]:
    """The scores of classes 1 to K-1, in this order.

    Args:
        reference: class indices (*S), whole numbers from 0 to K-1.
        prediction: class indices (*S), of the same grid.
        spacing_mm: along each axis of the arrays.
        num_classes: K, background included.
        tolerance_mm: of the surface Dice; a distance of just this much still counts as agreement.

    Raises:
        ValueError: if shapes, spacing, values or tolerance are not as described.
    """
    reference = _class_indices("reference", reference, num_classes)
    prediction = _class_indices("prediction", prediction, num_classes)
    if reference.shape != prediction.shape:
        raise ValueError(
            f"reference has shape {reference.shape} and prediction {prediction.shape}; expected one grid"
        )
    spacing = [float(length) for length in spacing_mm]
    if len(spacing) != reference.ndim or not all(0 < length < math.inf for length in spacing):
        raise ValueError(f"spacing_mm is {spacing}; expected {reference.ndim} positive lengths")
    if not 0 <= tolerance_mm < math.inf:
        raise ValueError(f"tolerance_mm is {tolerance_mm}; expected a length of at least 0")

    # Rows: class in the reference; columns: predicted class. Whole numbers stay exact for any
    # volume.
    joint = reference.ravel().astype(np.int64) * num_classes + prediction.ravel()
    num_voxels = np.bincount(joint, minlength=num_classes**2).reshape(num_classes, num_classes)
    boxes = [ndimage.find_objects(array, max_label=num_classes - 1) for array in (reference, prediction)]
    diagonal_mm = math.hypot(*(size * length for size, length in zip(reference.shape, spacing, strict=True)))
    voxel_mm3 = math.prod(spacing)
    scores = []
    for index in range(1, num_classes):
        num_reference, num_predicted = int(num_voxels[index].sum()), int(num_voxels[:, index].sum())
        if num_reference == num_predicted == 0:
            dice = hd95_mm = nsd = math.nan
        elif num_reference == 0 or num_predicted == 0:
            dice, hd95_mm, nsd = 0.0, diagonal_mm, 0.0
        else:
            dice = 2 * int(num_voxels[index, index]) / (num_reference + num_predicted)
            box = _union(boxes[0][index - 1], boxes[1][index - 1])
            hd95_mm, nsd = _surface_scores(
                reference[box] == index, prediction[box] == index, spacing, tolerance_mm
            )
        scores.append(
            ClassScore(index, dice, hd95_mm, nsd, num_reference * voxel_mm3, num_predicted * voxel_mm3)
        )
    return scores


def _surface_scores(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: list[float], tolerance_mm: float
) -> tuple[float, float]:
    """HD95 (mm) and NSD of two non-empty masks (*S).

    MONAI pads them, so they may fill their box.
    """
    masks = [torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in (prediction, reference)]
    with warnings.catch_warnings():
        # MONAI 1.6 warns of an argument of its own that only MONAI itself passes.
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*", category=FutureWarning)
        hd95_mm = compute_hausdorff_distance(
            *masks, include_background=True, percentile=95, spacing=spacing_mm
        )
        nsd = compute_surface_dice(
            *masks,
            class_thresholds=[tolerance_mm * (1 + TOLERANCE_SLACK)],
            include_background=True,
            spacing=spacing_mm,
            use_subvoxels=True,
        )
    return round(float(hd95_mm), NUM_DECIMALS), round(float(nsd), NUM_DECIMALS)


def _union(box: tuple[slice, ...], other: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(box, other, strict=True))


def _class_indices(name: str, label: np.ndarray | torch.Tensor, num_classes: int) -> np.ndarray:
    array = label.detach().cpu().numpy() if isinstance(label, torch.Tensor) else np.asarray(label)
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected two or three axes with voxels")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} is of type {array.dtype}; expected whole class indices")
    if array.min() < 0 or array.max() >= num_classes:
        raise ValueError(
            f"{name} holds values from {array.min()} to {array.max()}; expected class indices from 0 to "
            f"{num_classes - 1}"
        )
    return array.astype(np.int32, copy=False)
