"""The fingerprint against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msd_folder import write_msd_folder

from search_space.errors import UserError
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.planning.fingerprint import Fingerprint, measure


def test_two_cases_by_hand(tmp_path: Path) -> None:
    # Case a: 4x2x2 voxels of 1x2x3 mm; its foreground holds the intensities 10 and 30 (channel 1: -1 and -3).
    label_a = np.zeros((4, 2, 2))
    label_a[0, 0, 0] = label_a[3, 1, 1] = 1
    image_a = np.full((4, 2, 2, 2), 7, np.float32)
    image_a[0, 0, 0], image_a[3, 1, 1] = (10, -1), (30, -3)
    # Case b: stored with its axes in the order z, x, y: 2x6x2 voxels of 3x1x2 mm are 6x2x2 of 1x2x3 in RAS.
    label_b = np.zeros((2, 6, 2))
    label_b[0, :2, 0] = 1
    label_b[1, 5, 1] = 2
    image_b = np.zeros((2, 6, 2, 2), np.float32)
    image_b[0, 0, 0], image_b[0, 1, 0], image_b[1, 5, 1] = (50, 0), (70, 0), (90, 4)
    zxy = np.array([[0, 1, 0, 0], [0, 0, 2, 0], [3, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    dataset = write_msd_folder(
        tmp_path / "set",
        {"a": (image_a, label_a, np.diag([1.0, 2, 3, 1])), "b": (image_b, label_b, zxy)},
        channels=("T1", "T2"),
        num_classes=4,
    )
    seen: list[tuple[int, int]] = []
    found = measure(dataset, progress=lambda done, total: seen.append((done, total)))

    assert seen == [(1, 2), (2, 2)]
    assert (found.spatial_dims, found.num_cases, found.channel_names) == (3, 2, ("T1", "T2"))
    assert found.spacing_mm.median == found.spacing_mm.percentile_10 == (1, 2, 3)
    assert (found.shape_voxels.minimum, found.shape_voxels.maximum) == ((4, 2, 2), (6, 2, 2))
    assert found.shape_voxels.median == (5, 2, 2)
    assert found.extent_mm.median == (5, 4, 6)
    first, second = found.intensity  # foreground: 10 30 50 70 90 and -1 -3 0 0 4
    assert (first.mean, second.mean) == (50, 0)
    assert first.std == pytest.approx(np.sqrt(800))
    assert second.std == pytest.approx(np.sqrt(26 / 5))
    assert first.percentile_0_5 == pytest.approx(10 + 0.02 * 20)  # 0.5 % of the way over four gaps
    assert first.percentile_99_5 == pytest.approx(90 - 0.02 * 20)
    sizes = [(c.num_cases, c.mean_voxels, c.mean_mm3) for c in found.classes]
    assert sizes == [(2, 17.5, 105.0), (2, 2, 12), (1, 1, 6), (0, 0, 0)]
    assert [c.volume_fraction for c in found.classes] == pytest.approx([35 / 40, 4 / 40, 1 / 40, 0])


def test_it_survives_json(demo_set: Path) -> None:
    found = measure(read_dataset(demo_set))
    assert Fingerprint.model_validate_json(found.model_dump_json()) == found


def test_2d(demo_set_2d: Path) -> None:
    found = measure(read_dataset(demo_set_2d))
    assert found.shape_voxels.median == (32, 32)
    assert len(found.intensity) == 2


def test_no_foreground_at_all_is_an_error(tmp_path: Path) -> None:
    empty = np.zeros((4, 4, 4))
    dataset = write_msd_folder(tmp_path / "set", {"a": (empty.astype(np.float32), empty, np.eye(4))})
    with pytest.raises(UserError, match="found no foreground in any of 1 labels"):
        measure(dataset)
