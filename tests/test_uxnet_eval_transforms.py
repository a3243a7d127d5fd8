"""Preprocessing and the way back: on real anisotropic scans, and against numbers worked out by hand."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from msd_folder import describe_msd_folder, write_msd_folder
from PIL import Image
from scipy.ndimage import map_coordinates

from search_space.errors import UserError
from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.msd import Case, Dataset, load_image, load_label, read_dataset
from uxnet_eval.planning.fingerprint import measure
from uxnet_eval.planning.rules import make_plan
from uxnet_eval.preprocessing.case_grid import case_grid, planar_affine
from uxnet_eval.preprocessing.transforms import plain_errors, preprocessing, restore_label, restore_logits

SCANS = {"t2": ("t2", "t2_seg-manual"), "t2s": ("t2s_uncropped", "t2s_uncropped_gmseg_manual")}


def plan_for(*spacing_mm: float, **settings: object) -> Plan:
    dims = len(spacing_mm)
    return Plan(
        spatial_dims=dims, spacing_mm=spacing_mm, patch_size=(16,) * dims, strides=((2,) * dims,), **settings
    )


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.sum((a == 1) & (b == 1)) / (np.sum(a == 1) + np.sum(b == 1))


def random_affine(codes: str, spacing_mm: tuple[float, ...] = (0.7, 1.1, 2.3)) -> np.ndarray:
    """An oblique affine whose axes point nearest to ``codes``."""
    ornt = nib.orientations.axcodes2ornt(codes)
    affine = np.eye(4)
    for axis, (world, direction) in enumerate(ornt):
        affine[:3, axis] = 0
        affine[int(world), axis] = direction * spacing_mm[axis]
    angle = 0.15
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = (-31.0, 12.5, 80.0)
    return affine


@pytest.fixture(params=SCANS)
def cord(request: pytest.FixtureRequest, anisotropic: Path, tmp_path: Path) -> Dataset:
    """A data set of one real scan: ``t2`` in PSR orientation, ``t2s`` in LAS with 0.5x0.5x7.5 mm."""
    image, label = (anisotropic / f"{name}.nii.gz" for name in SCANS[request.param])
    for name, path in (("imagesTr", image), ("labelsTr", label)):
        (tmp_path / name).mkdir()
        shutil.copyfile(path, tmp_path / name / f"{request.param}.nii.gz")
    return describe_msd_folder(tmp_path, [request.param], ["MRI"], 2, 3)


def test_real_scan_through_its_own_plan_and_back(cord: Dataset) -> None:
    (case,) = cord.cases
    plan = make_plan(measure(cord), 6.0)
    if case.case_id == "t2s":
        # RAS, and the 7.5 mm slices wait until the plane has been pooled three times.
        assert plan.spacing_mm == pytest.approx((0.5, 0.5, 7.5), abs=1e-3)
        assert [stride[2] for stride in plan.strides[:3]] == [1, 1, 1]
    else:
        assert plan.spacing_mm == (1, 1, 1)
    item = preprocessing(plan, cord)(case)
    label = np.asarray(nib.load(case.label).dataobj)
    assert nib.aff2axcodes(item["image"].affine.numpy()) == ("R", "A", "S")
    assert item["image"].shape == item["label"].shape
    assert item["image"].shape[1:] == ((320, 320, 11) if case.case_id == "t2s" else (52, 60, 55))
    assert not item["grid"].is_resampled
    back, affine = restore_label(item["label"], item["grid"])
    np.testing.assert_array_equal(back, label)
    np.testing.assert_array_equal(affine, nib.load(case.image).affine)
    assert back.sum() > 100
    logits = torch.cat([item["label"] == 0, item["label"] == 1]).float()
    np.testing.assert_array_equal(restore_logits(logits, item["grid"])[0], label)


@pytest.mark.parametrize("factors", [(0.8, 0.8, 0.66), (0.9, 0.7, 0.5)])
def test_real_scan_resampled_and_back(cord: Dataset, factors: tuple[float, ...]) -> None:
    (case,) = cord.cases
    median = measure(cord).spacing_mm.median
    plan = plan_for(*(f * mm for f, mm in zip(factors, median, strict=True)))
    item = preprocessing(plan, cord)(case)
    grid = item["grid"]
    assert grid.is_resampled
    spacing = np.linalg.norm(item["image"].affine.numpy()[:3, :3], axis=0)
    np.testing.assert_allclose(spacing, plan.spacing_mm, rtol=1e-3)
    label, _ = load_label(case, cord)
    back, affine = restore_label(item["label"], grid)
    assert back.shape == label.shape
    np.testing.assert_array_equal(affine, nib.load(case.image).affine)
    print(f"{case.case_id}, {factors}: Dice {dice(back, label):.4f}")
    assert dice(back, label) > 0.95
    logits = torch.cat([item["label"] == 0, item["label"] == 1]).float()
    assert dice(restore_logits(logits, grid)[0], label) > 0.95


def test_every_orientation_comes_back_and_keeps_its_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes = [
        "".join(pick)
        for order in itertools.permutations([("L", "R"), ("P", "A"), ("I", "S")])
        for pick in itertools.product(*order)
    ]
    cases = {}
    for name in codes:
        label = rng.integers(0, 3, (4, 5, 6))
        cases[name] = (rng.normal(size=(4, 5, 6)).astype(np.float32), label, random_affine(name))
        cases[name][0][1, 2, 3] = 100.0  # the marked voxel
    dataset = write_msd_folder(tmp_path / "set", cases, num_classes=3)
    assert len(dataset.cases) == 48
    for case in dataset.cases:
        _, label, affine = cases[case.case_id]
        ornt = nib.orientations.axcodes2ornt(tuple(case.case_id))
        spacing = [0.0] * 3
        for axis, (world, _) in enumerate(ornt):
            spacing[int(world)] = (0.7, 1.1, 2.3)[axis]
        item = preprocessing(plan_for(*spacing), dataset)(case)
        assert not item["grid"].is_resampled
        np.testing.assert_array_equal(restore_label(item["label"], item["grid"])[0], label)
        marked = np.unravel_index(int(item["image"].argmax()), item["image"].shape[1:])
        np.testing.assert_allclose(
            item["image"].affine.numpy() @ [*marked, 1], affine @ [1, 2, 3, 1], atol=1e-4
        )


def test_resampling_by_hand(tmp_path: Path) -> None:
    # Voxels of 1 mm at 0 1 2 3 mm, edges at -0.5 and 3.5: two voxels of 2 mm have their centres at 0.5 and 2.5.
    image = np.broadcast_to(np.array([10, 20, 40, 80], np.float32)[:, None, None], (4, 3, 3)).copy()
    label = np.zeros((4, 3, 3))
    label[2:] = 1
    dataset = write_msd_folder(tmp_path / "set", {"a": (image, label, np.eye(4))}, channels=["CT"])
    intensity = {"lower": 0.0, "upper": 70.0, "mean": 10.0, "std": 10.0}
    plan = plan_for(2, 1, 1, normalization="ct", intensity=intensity)
    item = preprocessing(plan, dataset)(dataset.cases[0])
    # 80 is clipped to 70: (10 + 20) / 2 = 15 and (40 + 70) / 2 = 55, less 10, in tens.
    assert item["image"].shape == (1, 2, 3, 3)
    np.testing.assert_allclose(item["image"][0, :, 1, 1].numpy(), [0.5, 4.5], atol=1e-5)
    assert item["label"][0, :, 1, 1].tolist() == [0, 1]
    np.testing.assert_allclose(item["image"].affine[0].numpy(), [2, 0, 0, 0.5])
    # And back: linear between the two centres, constant beyond; 1 mm is nearer to the first.
    np.testing.assert_array_equal(restore_label(item["label"], item["grid"])[0], label)


def test_resampling_equals_scipy(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(7, 9, 6)).astype(np.float32)
    affine = random_affine("RAS")
    dataset = write_msd_folder(tmp_path / "set", {"a": (image, image > 0, affine)}, channels=["CT"])
    intensity = {"lower": -50.0, "upper": 50.0, "mean": 0.0, "std": 1.0}
    plan = plan_for(0.9, 0.8, 2.3, normalization="ct", intensity=intensity)
    item = preprocessing(plan, dataset)(dataset.cases[0])
    assert item["image"].shape[1:] == (5, 12, 6)  # 7 * 0.7 / 0.9 = 5.4; 9 * 1.1 / 0.8 = 12.4
    indices = np.stack([*np.indices((5, 12, 6)), np.ones((5, 12, 6))]).reshape(4, -1)
    places = np.linalg.inv(affine) @ item["image"].affine.numpy() @ indices
    expected = map_coordinates(image, places[:3], order=1, mode="nearest").reshape(5, 12, 6)
    np.testing.assert_allclose(item["image"][0].numpy(), expected, atol=1e-4)
    # Both grids have one centre.
    centre = item["image"].affine.numpy() @ [2, 5.5, 2.5, 1]
    np.testing.assert_allclose(centre, affine @ [3, 4, 2.5, 1], atol=1e-6)


def test_spacing_within_a_thousandth_is_left_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    image, label = rng.normal(size=(5, 5, 5)).astype(np.float32), rng.integers(0, 2, (5, 5, 5))
    affine = np.diag([1.0009, 0.9991, 1.0, 1])
    dataset = write_msd_folder(tmp_path / "set", {"a": (image, label, affine)})
    near = preprocessing(plan_for(1, 1, 1), dataset)(dataset.cases[0])
    assert not near["grid"].is_resampled
    np.testing.assert_array_equal(near["label"][0].numpy(), label)
    np.testing.assert_allclose(near["image"].affine.numpy(), affine, atol=1e-6)
    assert preprocessing(plan_for(1.003, 1, 1), dataset)(dataset.cases[0])["grid"].is_resampled


def test_no_class_appears_between_two_others(tmp_path: Path) -> None:
    # Interpolating class indices would put class 1 and 2 between 0 and 3.
    label = np.zeros((8, 8, 8))
    label[2:6, 2:6, 2:6] = 3
    dataset = write_msd_folder(
        tmp_path / "set", {"a": (label.astype(np.float32), label, np.eye(4))}, num_classes=4
    )
    item = preprocessing(plan_for(0.7, 0.7, 0.7), dataset)(dataset.cases[0])
    assert item["label"].unique().tolist() == [0, 3]
    back, _ = restore_label(item["label"], item["grid"])
    assert np.unique(back).tolist() == [0, 3]
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back == 3, label == 3)


def test_zscore_by_channel_over_what_is_not_zero(tmp_path: Path) -> None:
    image = np.zeros((4, 2, 2, 2), np.float32)
    image[0, 0, 0, 0], image[1, 0, 0, 0] = 10, 30  # channel 0: mean 20, SD 10
    image[..., 1] = 5  # channel 1 is constant: only centred
    label = np.zeros((4, 2, 2))
    label[0] = 1
    dataset = write_msd_folder(tmp_path / "set", {"a": (image, label, np.eye(4))}, channels=("x", "y"))
    item = preprocessing(plan_for(1, 1, 1), dataset)(dataset.cases[0])
    assert item["image"].dtype == torch.float32
    assert item["image"][0, :, 0, 0].tolist() == [-1, 1, 0, 0]
    assert item["image"][1].abs().max() == 0


def test_picture_without_affine_stays_as_it_is(tmp_path: Path) -> None:
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, (6, 9), dtype=np.uint8)
    Image.fromarray(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8)).save(tmp_path / "imagesTr/a.png")
    Image.fromarray(label).save(tmp_path / "labelsTr/a.png")
    dataset = describe_msd_folder(tmp_path, ["a"], ["R", "G", "B"], 2, 2)
    case = Case("a", tmp_path / "imagesTr/a.png", tmp_path / "labelsTr/a.png")
    item = preprocessing(plan_for(1, 1), dataset)(case)
    assert item["image"].shape == (3, 6, 9)
    assert item["image"].affine.shape == (3, 3)
    np.testing.assert_array_equal(item["label"][0].numpy(), label)
    back, affine = restore_label(item["label"], item["grid"])
    np.testing.assert_array_equal(back, label)
    np.testing.assert_array_equal(affine, np.eye(4))


@pytest.mark.parametrize(
    ("codes", "first_axis"),
    [
        ("RA", "kept"),
        ("LP", "kept"),
        ("AL", "swapped"),
        ("SA", "kept"),  # a sagittal slice keeps the file's order
    ],
)
def test_2d_orientations(tmp_path: Path, codes: str, first_axis: str) -> None:
    third = ({"R", "L", "A", "P", "S", "I"} - {c for pair in ("RL", "AP", "SI") for c in pair if set(pair) & set(codes)}).pop()  # fmt: skip
    affine = random_affine(codes + third, (0.5, 2.0, 1.0))
    rng = np.random.default_rng(4)
    image, label = rng.normal(size=(10, 4)).astype(np.float32), rng.integers(0, 2, (10, 4))
    dataset = write_msd_folder(tmp_path / "set", {"a": (image, label, affine)}, spatial_dims=2)
    spacing = (2.0, 0.5) if first_axis == "swapped" else (0.5, 2.0)
    item = preprocessing(plan_for(*spacing), dataset)(dataset.cases[0])
    assert not item["grid"].is_resampled
    assert item["image"].shape[1:] == ((4, 10) if first_axis == "swapped" else (10, 4))
    back, back_affine = restore_label(item["label"], item["grid"])
    np.testing.assert_array_equal(back, label)
    np.testing.assert_allclose(back_affine, affine, atol=1e-5)
    # Resampled: the size follows from the spacing of each axis, 10 x 0.5 mm and 4 x 2 mm.
    finer = preprocessing(plan_for(0.25, 0.25), dataset)(dataset.cases[0])
    assert sorted(finer["image"].shape[1:]) == [20, 32]
    assert finer["image"].affine.shape == (3, 3)
    np.testing.assert_array_equal(restore_label(finer["label"], finer["grid"])[0], label)


def test_planar_affine_keeps_spacing_and_direction() -> None:
    affine = random_affine("LPS", (0.5, 2.0, 1.0))
    expected = [[-0.5, 0, -31.0], [0, -2.0, 12.5], [0, 0, 1]]
    np.testing.assert_allclose(planar_affine(affine), expected, atol=1e-9)


def test_case_without_label(demo_set: Path) -> None:
    dataset = read_dataset(demo_set)
    case = dataset.cases[0]
    item = preprocessing(plan_for(1, 1, 1), dataset, keys=("image",))(Case("new", case.image, None))
    assert set(item) == {"image", "case_id", "grid"}
    assert isinstance(item["image"], MetaTensor)
    image, _ = load_image(case, dataset)
    assert item["image"].shape == image.shape


@pytest.mark.parametrize("fault", ["other shape", "other affine", "truncated"])
def test_a_bad_case_is_named(tmp_path: Path, fault: str) -> None:
    image = np.ones((6, 6, 6), np.float32)
    dataset = write_msd_folder(tmp_path / "set", {"bad_7": (image, image > 0, np.eye(4))})
    (case,) = dataset.cases
    if fault == "other shape":
        nib.save(nib.Nifti1Image(np.ones((6, 6, 5), np.uint8), np.eye(4)), case.label)
    elif fault == "other affine":
        nib.save(nib.Nifti1Image(np.ones((6, 6, 6), np.uint8), np.diag([2.0, 1, 1, 1])), case.label)
    else:
        case.image.write_bytes(case.image.read_bytes()[:60])
    expected = {"other shape": "6x6x6", "other affine": "different affines", "truncated": "truncated"}
    with pytest.raises(UserError, match=f"^bad_7: .*{expected[fault]}"), plain_errors():
        preprocessing(plan_for(1, 1, 1), dataset)(case)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(RuntimeError, match="surprise"), plain_errors():
        raise RuntimeError("surprise")


def test_plan_of_other_dimensions_is_refused() -> None:
    with pytest.raises(UserError, match=r"^x: has 2 spatial axes, but the plan is for 3"):
        case_grid("x", (4, 4), np.eye(4), (1, 1, 1))


def test_restoring_refuses_another_shape() -> None:
    grid = case_grid("x", (4, 4, 4), np.eye(4), (1, 1, 1))
    with pytest.raises(ValueError, match=r"^x: found an array of shape \(1, 4, 4, 5\)"):
        restore_label(np.zeros((4, 4, 5)), grid)
    with pytest.raises(ValueError, match=r"expected classes x \(4, 4, 4\)"):
        restore_logits(torch.zeros(3, 4, 4, 5), grid)


def test_logits_are_interpolated_before_the_argmax() -> None:
    # Two voxels of 2 mm to four of 1 mm, centres at 0.5 and 2.5: at 1 mm the weights are 3/4 and 1/4.
    grid = case_grid("x", (4, 1, 1), np.eye(4), (2, 1, 1))
    logits = torch.zeros(2, 2, 1, 1)
    logits[1, :, 0, 0] = torch.tensor([-1.0, 5.0])
    restored, _ = restore_logits(logits, grid)  # -1, 0.5, 3.5, 5: the argmax first would give 0 0 1 1
    assert restored[:, 0, 0].tolist() == [0, 1, 1, 1]
    assert restored.dtype == np.uint8
