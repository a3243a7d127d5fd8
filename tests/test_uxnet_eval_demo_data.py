"""The generated data: deterministic, whole or not at all, and not to be had by a threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from search_space.errors import UserError
from uxnet_eval.dataset import demo_data
from uxnet_eval.dataset.check import check_dataset
from uxnet_eval.dataset.demo_data import make_demo_data
from uxnet_eval.dataset.msd import load_image, load_label, read_dataset

SMALL: dict[str, Any] = {"num_cases": 3, "size_voxels": (20, 20, 12)}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("settings", "shape", "spacing_mm"),
    [
        ({"num_cases": 3}, (1, 40, 40, 32), (1, 1, 1)),
        ({"num_cases": 3, "num_channels": 2, "anisotropic": True}, (2, 40, 40, 12), (1, 1, 3)),
        ({"num_cases": 3, "spatial_dims": 2}, (1, 80, 80), (1, 1)),
        ({"num_cases": 3, "spatial_dims": 2, "num_channels": 4, "anisotropic": True}, (4, 80, 27), (1, 3)),
    ],
)
def test_every_kind_of_set_is_sound(tmp_path: Path, settings: dict, shape: tuple, spacing_mm: tuple) -> None:
    folder = make_demo_data(tmp_path / "demo", **settings)
    assert check_dataset(folder) == []
    dataset = read_dataset(folder)
    image, affine = load_image(dataset.cases[0], dataset)
    assert image.shape == shape
    assert tuple(nib.affines.voxel_sizes(affine)[: len(spacing_mm)]) == spacing_mm
    assert len(dataset.cases) == 3
    assert dataset.class_names == ("background", "large organ", "medium organ", "small organ")


def test_channels_differ_in_contrast_and_share_the_anatomy(tmp_path: Path) -> None:
    """In the second channel the large organ is darker than its surroundings, in the first brighter."""
    dataset = read_dataset(make_demo_data(tmp_path / "demo", num_channels=2, num_cases=3))
    for case in dataset.cases:
        (first, second), _ = load_image(case, dataset)
        large = load_label(case, dataset)[0] == 1
        rim = ndimage.binary_dilation(large, iterations=2) & (load_label(case, dataset)[0] == 0)
        assert first[large].mean() > first[rim].mean()
        assert second[large].mean() < second[rim].mean()


def test_organs_have_three_sizes_and_the_small_one_rests_on_the_medium(demo_set: Path) -> None:
    dataset = read_dataset(demo_set)
    for case in dataset.cases:
        label, _ = load_label(case, dataset)
        num_voxels = np.bincount(label.ravel(), minlength=4)
        assert num_voxels[1] > 2 * num_voxels[2] > 2 * num_voxels[3] > 30, case.case_id
        assert (ndimage.binary_dilation(label == 3, iterations=2) & (label == 2)).any(), case.case_id


def best_window_dice(image: np.ndarray, label: np.ndarray, num_classes: int, num_levels: int = 200) -> float:
    """Mean over the organs of the best Dice that one intensity window can reach, all voxels pooled.

    Every window between two of ``num_levels`` evenly spaced levels is tried; background is not scored.
    """
    level = np.digitize(image, np.linspace(image.min(), image.max(), num_levels)[1:-1])
    below = np.cumsum(np.bincount(level, minlength=num_levels))
    scores = []
    for index in range(1, num_classes):
        organ = label == index
        organ_below = np.cumsum(np.bincount(level, weights=organ, minlength=num_levels))
        best = 0.0
        for low in range(num_levels):
            num_found = organ_below[low:] - (organ_below[low - 1] if low else 0)
            num_in_window = below[low:] - (below[low - 1] if low else 0)
            best = max(best, float((2 * num_found / (num_in_window + organ.sum())).max()))
        scores.append(best)
    return float(np.mean(scores))


@pytest.mark.parametrize("channel", [0, 1])
def test_intensity_alone_does_not_find_the_organs(tmp_path: Path, channel: int) -> None:
    dataset = read_dataset(make_demo_data(tmp_path / "demo", num_cases=4, num_channels=2))
    images = [load_image(case, dataset)[0][channel] for case in dataset.cases]
    # Each case is standardised, which gives the window more than it would have on the files as they are.
    image = np.concatenate([((image - image.mean()) / image.std()).ravel() for image in images])
    label = np.concatenate([load_label(case, dataset)[0].ravel() for case in dataset.cases])
    assert best_window_dice(image, label, 4) < 0.5
    assert best_window_dice(label.astype(float), label, 4) == 1  # an image that gives the classes away


def test_doubles_of_every_organ_lie_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its doubles the same scan has another image and the same label."""
    from uxnet_eval.dataset import phantom

    settings: dict[str, Any] = {"num_cases": 3, "spatial_dims": 2}
    dataset = read_dataset(make_demo_data(tmp_path / "with", **settings))
    changed: list[np.ndarray] = []
    original = phantom._add_doubles

    def recorded(rng: Any, u: Any, body: Any, tissue: np.ndarray, label: np.ndarray) -> None:
        before = tissue.copy()
        original(rng, u, body, tissue, label)
        changed.append(np.where(tissue != before, tissue, -1))
        assert not (changed[-1][label > 0] >= 0).any()

    monkeypatch.setattr(phantom, "_add_doubles", recorded)
    make_demo_data(tmp_path / "again", **settings)
    assert len(changed) == len(dataset.cases)
    kinds = set(np.unique(np.concatenate([doubles.ravel() for doubles in changed])))
    assert {phantom._LARGE, phantom._MEDIUM, phantom._SMALL} <= kinds


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first = contents(make_demo_data(tmp_path / "a", seed=3, **SMALL))
    assert contents(make_demo_data(tmp_path / "b", seed=3, **SMALL)) == first
    other = contents(make_demo_data(tmp_path / "c", seed=4, **SMALL))
    assert all(other[name] != first[name] for name in first)


def test_fewer_cases_are_the_first_of_more(tmp_path: Path) -> None:
    few = contents(make_demo_data(tmp_path / "few", **SMALL))
    many = contents(make_demo_data(tmp_path / "many", **(SMALL | {"num_cases": 5})))
    assert all(many[name] == few[name] for name in few if name != "dataset.json")


def test_set_of_identical_settings_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_demo_data(tmp_path / "demo", **SMALL)
    before = contents(folder)
    monkeypatch.setattr(demo_data, "draw_scan", None)  # a second drawing would fail
    assert make_demo_data(folder, **SMALL) == folder
    assert contents(folder) == before


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    assert check_dataset(make_demo_data(tmp_path / "demo", **SMALL)) == []


def test_other_contents_are_refused_and_left_alone(tmp_path: Path) -> None:
    folder = make_demo_data(tmp_path / "demo", **SMALL)
    before = contents(folder)
    with pytest.raises(
        UserError, match=r"demo: holds a demo set of other settings \(seed 0\), expected nothing"
    ):
        make_demo_data(folder, seed=5, **SMALL)
    assert contents(folder) == before
    (folder / "imagesTr" / "demo_001.nii.gz").unlink()
    with pytest.raises(UserError, match=r"demo: holds a demo set without its case demo_001"):
        make_demo_data(folder, **SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for name in ("mine", "file"):
        with pytest.raises(
            UserError, match=rf"{name}: holds something that is no demo set.*; give another folder"
        ):
            make_demo_data(tmp_path / name, **SMALL)
    assert contents(tmp_path / "mine") == {"thesis.txt": b"kept"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "file", "mine"]


def test_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = demo_data.draw_scan
    num_calls = 0

    def interrupted(*arguments: Any) -> Any:
        nonlocal num_calls
        num_calls += 1
        if num_calls == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(demo_data, "draw_scan", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_demo_data(tmp_path / "demo", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial_dims": 4}, r"spatial_dims is 4, expected 2 or 3"),
        ({"size_voxels": (40, 40)}, r"size_voxels is 40x40, expected 3 axes"),
        ({"size_voxels": (40, 40, 7)}, r"expected 3 axes of at least 8 voxels"),
        ({"num_channels": 5}, r"num_channels is 5, expected 1 to 4"),
        ({"num_cases": 2}, r"num_cases is 2, expected at least 3"),
        ({"seed": -1}, r"seed is -1, expected 0 or more"),
    ],
)
def test_settings_out_of_range(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_demo_data(tmp_path / "demo", **settings)
    assert list(tmp_path.iterdir()) == []
