"""Pictures of the report and of TensorBoard: segmentations over their images, the drawing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from search_runs import made_up_record

from search_space.grid import Grid
from uxnet_eval.report.live import architecture_picture
from uxnet_eval.runs.overlay_picture import class_color, cut_planes, paint_planes
from uxnet_eval.runs.overlays import Overlay, best_median_worst, read_overlays, write_overlays
from uxnet_eval.runs.validation_cases import ValidationCases


def test_planes_go_through_the_largest_sections_with_the_right_on_the_left() -> None:
    reference = np.zeros((4, 5, 6), dtype=int)
    reference[1, 2, 3:5] = 1  # RAS: right-left, back-front, foot-head
    reference[2, 2, 3] = 1
    image = np.arange(reference.size, dtype=float).reshape(reference.shape)
    axial, coronal, sagittal = cut_planes(image, reference, np.zeros_like(reference), (1.0, 2.0, 3.0))
    # The axial plane is z = 3, which two voxels lie in: x = 1 and 2, counted from the left side of the body; in the
    # picture x runs to the left and y up, so they are columns 2 and 1 of 4, row 2 of 5.
    assert np.argwhere(axial.reference).tolist() == [[2, 1], [2, 2]]
    assert axial.pixel_mm == (2.0, 1.0)
    # Coronal: y = 2. Rows are z from the top (6): z = 4 is row 1, z = 3 is row 2.
    assert np.argwhere(coronal.reference).tolist() == [[1, 2], [2, 1], [2, 2]]
    assert coronal.pixel_mm == (3.0, 1.0)
    # Sagittal: x = 1. Columns are y from the front (5): y = 2 is column 2.
    assert np.argwhere(sagittal.reference).tolist() == [[1, 2], [2, 2]]
    assert sagittal.pixel_mm == (3.0, 2.0)


def test_prediction_is_filled_and_reference_outlined() -> None:
    image, reference, prediction = (np.zeros((84, 52)) for _ in range(3))
    reference[10:30, 10:30] = 2
    prediction[35:45, 35:45] = 1
    picture = paint_planes(cut_planes(image, reference, prediction, (1.0, 1.0)))
    assert picture.shape == (420, 260, 3) and picture.dtype == np.uint8  # 5 pixels a voxel
    assert picture[200, 200] == pytest.approx(0.45 * 255 * class_color(1), abs=1)  # inside the prediction
    assert picture[50, 100] == pytest.approx(255 * class_color(2), abs=1)  # upper side of the outline
    assert picture[100, 100].tolist() == [0, 0, 0]  # inside the reference, not predicted
    assert picture[5, 5].tolist() == [0, 0, 0]


def test_thick_voxels_keep_their_proportions_and_planes_share_one_scale() -> None:
    volume = np.ones((12, 18, 3))
    picture = paint_planes(cut_planes(volume, np.zeros_like(volume), volume, (1.0, 1.0, 4.0)))
    # Axial 12 mm wide and 18 high, coronal 12 and 12, sagittal 18 and 12: 42 mm in 780 - 2 * 6 = 768 pixels.
    widths, heights = (219, 219, 329), (329, 219, 219)
    assert picture.shape == (329, sum(widths) + 2 * 6, 3)
    for start, width, height in zip((0, 225, 450), widths, heights, strict=True):
        column = picture[:, start + width // 2, 0]
        assert np.flatnonzero(column)[[0, -1]].tolist() == [
            (329 - height) // 2,
            (329 - height) // 2 + height - 1,
        ]
        assert picture[164, start : start + width, 0].all()


def test_a_long_thin_case_is_limited_in_height() -> None:
    volume = np.zeros((10, 10, 100))
    assert paint_planes(cut_planes(volume, volume, volume, (1.0, 1.0, 1.0))).shape == (420, 42 * 3 + 12, 3)


def test_best_median_and_worst_case() -> None:
    assert best_median_worst([0.5, None, 0.9, 0.1, 0.6]) == {"best": 2, "median": 0, "worst": 3}
    assert best_median_worst([0.5, 0.6]) == {"best": 1, "worst": 0}
    assert best_median_worst([None, 0.3]) == {"best": 1}
    assert best_median_worst([None]) == {}


def test_overlays_come_back_as_pictures_and_a_truncated_one_is_noted(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    write_overlays(tmp_path, [Overlay("case_1", "best", 0.9, picture)], ["background", "organ"], "epoch 3")
    notes: list[str] = []
    found = read_overlays(tmp_path, notes)
    assert found is not None and notes == []
    assert found["classes"] == [{"name": "organ", "color": "#e69f00"}]
    assert found["cases"][0]["url"].startswith("data:image/png;base64,")
    file = tmp_path / "overlays" / "best.png"
    file.write_bytes(file.read_bytes()[:-200])
    assert read_overlays(tmp_path, notes) is None
    assert len(notes) == 1 and "the overlays cannot be shown" in notes[0]
    assert read_overlays(tmp_path / "absent", notes) is None and len(notes) == 1


def test_validation_cases_keep_a_film_of_fixed_cases_and_the_extremes(tmp_path: Path) -> None:
    cases = ValidationCases((1.0, 1.0))
    for number, dice in enumerate([0.2, 0.9, 0.5, float("nan"), 0.7]):
        label = torch.zeros(1, 1, 8, 8, dtype=torch.int64)
        cases.add(f"case_{number}", torch.rand(1, 2, 8, 8), label, label, torch.tensor(dice))
    assert list(cases.film()) == ["case_0", "case_1", "case_2"]
    cases.save(tmp_path, ["background", "organ"], "epoch 1")
    found = read_overlays(tmp_path, [])
    assert found is not None
    assert [(each["rank"], each["caseId"]) for each in found["cases"]] == [
        ("best", "case_1"),
        ("median", "case_2"),
        ("worst", "case_0"),
    ]


def test_a_stored_case_looks_the_same_in_any_orientation() -> None:
    """The same anatomy stored as RAS and as LPS with its axes swapped, voxels of 1 x 2 x 3 mm."""
    random = np.random.default_rng(0)
    image, label = random.random((1, 4, 5, 6)), random.integers(0, 3, (4, 5, 6))
    upright, turned = ValidationCases(), ValidationCases()
    upright.add_stored("a", image, label, label, np.diag([1.0, 2.0, 3.0, 1.0]))
    swapped = np.array([[0, -1.0, 0, 3], [-2.0, 0, 0, 8], [0, 0, 3.0, 0], [0, 0, 0, 1]])
    turned.add_stored(
        "a",
        image.transpose(0, 2, 1, 3)[:, ::-1, ::-1],
        label.transpose(1, 0, 2)[::-1, ::-1],
        label.transpose(1, 0, 2)[::-1, ::-1],
        swapped,
    )
    assert np.array_equal(upright.film()["a"], turned.film()["a"])
    upright.rank({"a": 0.5})


def test_the_drawing_of_a_search_with_fixed_edges_and_operations() -> None:
    record = made_up_record()
    record.gates = {name: 0.1 for name in list(record.gates)[2:]}
    record.fixed_edges = list(map(str, Grid(3).edges[:1]))
    picture = architecture_picture(record)
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
