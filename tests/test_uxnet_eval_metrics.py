"""Scores of one case: masks of a few voxels worked by hand, MONAI's metrics, and every empty mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
from monai.networks.utils import one_hot
from scipy.ndimage import gaussian_filter

from uxnet_eval.evaluation.metrics import ClassScore, score_case


def mask(shape: tuple[int, ...], *boxes: tuple[slice | int, ...]) -> np.ndarray:
    """Class 1 in the boxes, 0 elsewhere."""
    label = np.zeros(shape, np.uint8)
    for box in boxes:
        label[box] = 1
    return label


def score_one(reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...], **options: float):
    (score,) = score_case(reference, prediction, spacing, num_classes=2, **options)
    return score


def values(score: ClassScore) -> list[float]:
    return [
        score.dice,
        score.hd95_mm,
        score.nsd,
        score.reference_volume_mm3,
        score.predicted_volume_mm3,
    ]


def test_one_voxel_grown_along_the_thick_axis() -> None:
    # Spacing (1, 1, 4). R is one voxel, P that voxel and the next one along the thick axis.
    # Dice 2 * 1 / (1 + 2). Volumes 1 * 4 and 2 * 4 mm^3.
    # Every voxel is a border voxel: distances P to R are {0, 4}, their 95th percentile is 0 + 0.95 * 4 = 3.8;
    # R to P is {0}.
    # Marching cubes: a corner is a triangle of area t = |(1*4, 1*4, 1*1)| / 8 = sqrt(33) / 8; a vertical edge
    # is a rectangle 4 high across the corner of a 1/2 x 1/2 square, 4 * sqrt(1/2) = 2 sqrt(2). R has 8 corners;
    # P has 4 corners below, 4 rectangles, 4 corners on top. Only these last 4 corners are off, by 4 mm.
    reference = mask((4, 4, 5), (1, 2, 1))
    prediction = mask((4, 4, 5), (1, 2, slice(1, 3)))
    t = math.sqrt(33) / 8
    nsd = (12 * t + 8 * math.sqrt(2)) / (16 * t + 8 * math.sqrt(2))  # 0.874; counting voxels gives 2/3
    expected = [2 / 3, 3.8, nsd, 4.0, 8.0]
    assert values(score_one(reference, prediction, (1, 1, 4))) == pytest.approx(expected, abs=1e-6)
    assert score_one(reference, prediction, (1, 1, 4), tolerance_mm=4.0).nsd == 1.0


def test_one_pixel_grown_along_the_short_axis() -> None:
    # Spacing (2, 1). R is one pixel, P that pixel and the next column. A contour corner is half a diagonal,
    # d = sqrt(5) / 2 long; P also has two straight pieces of 1 mm. P's two corners in the new column are 1 mm off.
    reference = mask((5, 6), (2, 2))
    prediction = mask((5, 6), (2, slice(2, 4)))
    d = math.sqrt(5) / 2
    expected = [2 / 3, 0.95, (4 * d + 2 * d + 2) / (4 * d + 4 * d + 2), 2.0, 4.0]
    assert values(score_one(reference, prediction, (2, 1), tolerance_mm=0.5)) == pytest.approx(
        expected, abs=1e-6
    )


@pytest.mark.parametrize(
    ("axis", "hd95_mm", "nsd_at_1_mm"),
    # One voxel against its neighbour along an axis. 4 of the 8 equal corners of each coincide; the other 4 are
    # one voxel away, which is within 1 mm along the first axis alone.
    [(0, 0.5, 1.0), (1, 2.0, 0.5), (2, 7.5, 0.5)],
)
def test_each_axis_has_its_own_spacing(axis: int, hd95_mm: float, nsd_at_1_mm: float) -> None:
    reference = mask((4, 4, 4), (1, 1, 1))
    score = score_one(reference, np.roll(reference, 1, axis), (0.5, 2.0, 7.5))
    assert values(score) == pytest.approx([0, hd95_mm, nsd_at_1_mm, 7.5, 7.5], abs=1e-6)


def test_hd95_is_the_larger_of_the_two_directed_percentiles() -> None:
    # P runs 20 voxels of 0.5 mm beyond the single voxel of R: distances 0, 0.5, ..., 10, whose 95th percentile
    # is entry 0.95 * 20 = 19, so 9.5 mm. R to P is 0. One percentile of all 22 distances would give 9.475.
    reference = mask((3, 3, 30), (1, 1, 4))
    prediction = mask((3, 3, 30), (1, 1, slice(4, 25)))
    assert score_one(reference, prediction, (1, 1, 0.5)).hd95_mm == pytest.approx(9.5)
    assert score_one(prediction, reference, (1, 1, 0.5)).hd95_mm == pytest.approx(9.5)  # symmetric


def test_inner_voxels_are_no_border() -> None:
    # A 5x5 square lacking its middle against the full square, 1 mm: the ring's border voxels are all 24 (the
    # inner ring touches the hole), the square's are its outer 16. The 8 inner ones lie 1 mm from the outer
    # ring, 16 lie on it: the 95th percentile is entry 21.85 of 16 zeros and 8 ones, so 1. Back: all 0.
    full = mask((7, 7), (slice(1, 6), slice(1, 6)))
    ring = full.copy()
    ring[3, 3] = 0
    assert score_one(full, ring, (1, 1)).hd95_mm == 1.0
    assert score_one(full, ring, (1, 1)).dice == 48 / 49


@pytest.mark.parametrize("dims", [2, 3])
def test_mask_that_fills_the_image_has_its_surface_at_the_edge(dims: int) -> None:
    full = np.ones((4, 5, 6)[:dims], np.uint8)
    less = full.copy()
    less[-1] = 0  # one layer of 3 mm at the edge of the image
    assert score_one(full, full, (3, 1, 1)[:dims]).nsd == 1.0
    score = score_one(full, less, (3, 1, 1)[:dims])
    assert score.hd95_mm == 3.0
    assert 0 < score.nsd < 1


NAN = math.nan
DIAGONAL_MM = 13.0  # 3 voxels of 1 mm, 4 of 1 mm, 2 of 6 mm: the square root of 9 + 16 + 144


@pytest.mark.parametrize(
    ("in_reference", "in_prediction", "dice", "hd95_mm", "nsd"),
    [
        (False, False, NAN, NAN, NAN),  # does not occur: not counted
        (True, False, 0.0, DIAGONAL_MM, 0.0),  # missed
        (False, True, 0.0, DIAGONAL_MM, 0.0),  # invented
        (True, True, 1.0, 0.0, 1.0),
    ],
)
@pytest.mark.parametrize("other_class", [False, True])  # class 2 makes no difference to class 1
def test_empty_masks(
    in_reference: bool, in_prediction: bool, dice: float, hd95_mm: float, nsd: float, other_class: bool
) -> None:
    reference, prediction = np.zeros((2, 3, 4, 2), np.uint8)
    reference[1, 1, 0], prediction[1, 1, 0] = in_reference, in_prediction
    reference[2, 3, 1] = 2 * other_class
    first, second = score_case(reference, prediction, (1, 1, 6), num_classes=3)
    expected = [dice, hd95_mm, nsd, 6.0 * in_reference, 6.0 * in_prediction]
    assert values(first) == pytest.approx(expected, nan_ok=True)
    assert math.isnan(second.dice) == (not other_class)


def blobs(shape: tuple[int, ...], num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two smooth random labels that differ a little and touch the edges."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(num_classes, *shape))
    other = noise + 0.4 * generator.normal(size=noise.shape)
    return tuple(np.stack([gaussian_filter(c, 2) for c in field]).argmax(0) for field in (noise, other))


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy")  # MONAI warns of its own call
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((20, 17, 11), (0.7, 1.0, 3.5)), ((14, 9, 16), (1.0, 1.0, 1.0)), ((33, 28), (0.4, 1.5))],
)
def test_agrees_with_monai_on_whole_volumes(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    reference, prediction = blobs(shape, num_classes=4, seed=3)
    hot = [one_hot(torch.tensor(label)[None, None], num_classes=4) for label in (prediction, reference)]
    scores = score_case(reference, prediction, spacing, num_classes=4, tolerance_mm=1.2)
    expected = {
        "dice": compute_dice(*hot, include_background=False),
        "hd95_mm": compute_hausdorff_distance(*hot, percentile=95, spacing=list(spacing)),
        "nsd": compute_surface_dice(*hot, [1.2] * 3, spacing=list(spacing), use_subvoxels=True),
    }
    for name, tensor in expected.items():
        assert [getattr(score, name) for score in scores] == pytest.approx(tensor[0].tolist(), abs=2e-6)
    assert len({score.hd95_mm for score in scores}) > 1  # the agreement is not one of trivial values
    assert all(0.3 < score.nsd < 0.99 for score in scores)


def test_hd95_agrees_with_a_slow_loop() -> None:
    reference, prediction = blobs((9, 8, 7), num_classes=2, seed=5)
    spacing = np.array([0.6, 1.1, 2.9])

    def border(label: np.ndarray) -> np.ndarray:
        padded, points = np.pad(label, 1), []
        for voxel in np.argwhere(padded):
            neighbours = [voxel + sign * step for step in np.eye(3, dtype=int) for sign in (-1, 1)]
            if not all(padded[tuple(neighbour)] for neighbour in neighbours):
                points.append(voxel * spacing)
        return np.array(points)

    r, p = border(reference), border(prediction)
    distances = np.linalg.norm(r[:, None] - p[None], axis=-1)
    expected = max(np.percentile(distances.min(0), 95), np.percentile(distances.min(1), 95))
    assert score_one(reference, prediction, tuple(spacing)).hd95_mm == pytest.approx(expected, abs=1e-6)


def test_agreement_does_not_depend_on_the_orientation() -> None:
    reference, prediction = blobs((12, 9, 7), num_classes=3, seed=1)
    turned = [np.flip(label.transpose(2, 0, 1), 1) for label in (reference, prediction)]
    assert score_case(*turned, (3.0, 0.7, 1.0), 3) == score_case(reference, prediction, (0.7, 1.0, 3.0), 3)


def test_rounding_in_the_header_does_not_cross_the_tolerance() -> None:
    reference = mask((4, 4, 4), (1, 1, 1))
    shifted = np.roll(reference, 1, 0)
    assert score_one(reference, shifted, (1.00001, 1, 1)).nsd == 1.0
    assert score_one(reference, shifted, (1.001, 1, 1)).nsd == 0.5


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.int64, np.uint64, torch.uint8])
def test_integers_of_any_kind(dtype: type | torch.dtype) -> None:
    label = mask((4, 4, 4), (1, slice(1, 3), 1))
    other = np.roll(label, 1, 1)
    if isinstance(dtype, torch.dtype):
        pair = [torch.tensor(array, dtype=dtype) for array in (label, other)]
    else:
        pair = [array.astype(dtype) for array in (label, other)]
    assert score_case(*pair, (1, 1, 1), num_classes=2)[0].dice == 0.5


def test_class_pairs_do_not_overflow_bytes() -> None:
    # 20 classes: the joint index 19 * 20 + 19 does not fit the labels' own type.
    label = np.arange(20, dtype=np.uint8).reshape(4, 5)
    assert [score.dice for score in score_case(label, label, (1, 1), 20)] == [1.0] * 19


@pytest.mark.parametrize(
    ("reference", "prediction", "spacing", "tolerance", "message"),
    [
        (np.zeros((3, 3), int), np.zeros((3, 4), int), (1, 1), 1, "expected one grid"),
        (np.zeros((3, 3), int), np.zeros((3, 3), int), (1, 1, 1), 1, "expected 2 positive lengths"),
        (np.zeros((3, 3), int), np.zeros((3, 3), int), (1, 0), 1, "expected 2 positive lengths"),
        (np.zeros((3, 3), int), np.zeros((3, 3), int), (1, 1), -1, "at least 0"),
        (np.zeros((3, 3), int), np.full((3, 3), 2), (1, 1), 1, "prediction holds values from 2 to 2"),
        (np.full((3, 3), -1), np.zeros((3, 3), int), (1, 1), 1, "reference holds values from -1 to -1"),
        (np.zeros((3, 3)), np.zeros((3, 3), int), (1, 1), 1, "reference is of type float64"),
        (np.zeros((1, 3, 3, 3), int), np.zeros((1, 3, 3, 3), int), (1, 1, 1), 1, "two or three axes"),
    ],
)
def test_refuses(
    reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...], tolerance: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score_case(reference, prediction, spacing, num_classes=2, tolerance_mm=tolerance)
