"""Reading of the images and labels of MSD folders: what is accepted, and one clear line for what is not."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from search_space.errors import UserError
from uxnet_eval.dataset.msd import Case, Dataset, load_image, load_label, read_dataset

CASE = "demo_003"


@pytest.fixture
def folder(demo_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_set, tmp_path / "set"))


def edit(folder: Path, **changes: Any) -> None:
    """Sets keys of dataset.json; None removes one."""
    path = folder / "dataset.json"
    description = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in description.items() if value is not None}))


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    """Stores ``change(voxels)`` as float32."""
    old = nib.load(path)
    voxels = change(np.asarray(old.dataobj, dtype=np.float32))
    nib.save(nib.Nifti1Image(voxels, old.affine if affine is None else affine), path)


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(voxels: np.ndarray) -> np.ndarray:
        voxels[1, 2, 3] = value
        return voxels

    return change


def case_of(dataset: Dataset, case_id: str = CASE) -> Case:
    return next(case for case in dataset.cases if case.case_id == case_id)


# --- images and labels that are sound -------------------------------------------------------------------------


def test_orientation_and_header_scaling_of_the_file(folder: Path) -> None:
    """No axis is turned, and the stored integers 0..23 read as 2 x + 10."""
    dataset = read_dataset(folder)
    affine = np.array([[0, 0, -2.0, 5], [-1, 0, 0, 6], [0, 3, 0, 7], [0, 0, 0, 1]])  # PSL
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    volume = nib.Nifti1Image(stored, affine)
    volume.header.set_slope_inter(2, 10)
    nib.save(volume, case_of(dataset).image)
    image, found_affine = load_image(case_of(dataset), dataset)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, (2 * np.arange(24) + 10).reshape(1, 2, 3, 4))
    assert found_affine.dtype == np.float64
    np.testing.assert_array_equal(found_affine, affine)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_channels_are_stored_last_and_read_first(folder: Path, kind: type, suffix: str) -> None:
    edit(folder, modality={"0": "a", "1": "b"}, tensorImageSize="4D")
    dataset = read_dataset(folder)
    stored = np.stack([np.full((3, 4, 5), 7.0), np.full((3, 4, 5), 9.0)], axis=-1)
    path = folder / f"two{suffix}"
    nib.save(kind(stored, np.eye(4)), path)
    image, _ = load_image(Case("two", path, None), dataset)
    assert image.shape == (2, 3, 4, 5)
    assert (image[0] == 7).all() and (image[1] == 9).all()


def test_two_dimensional_images_in_every_way_of_storing_them(demo_set_2d: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(demo_set_2d, tmp_path / "set"))
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)  # rows, columns, channels
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), folder / "last.nii.gz")
    nib.save(nib.Nifti1Image(pixels[:, :, None], np.eye(4)), folder / "fourth.nii.gz")
    Image.fromarray(pixels).save(folder / "rgb.png")
    edit(folder, modality={"0": "r", "1": "g", "2": "b"})
    dataset = read_dataset(folder)
    for name in ("last.nii.gz", "fourth.nii.gz", "rgb.png"):
        image, affine = load_image(Case(name, folder / name, None), dataset)
        np.testing.assert_array_equal(image, np.moveaxis(pixels, -1, 0), err_msg=name)
        np.testing.assert_array_equal(affine, np.eye(4))
    edit(folder, modality={"0": "grey"})
    dataset = read_dataset(folder)
    nib.save(nib.Nifti1Image(pixels[..., 0], np.eye(4)), folder / "plain.nii.gz")
    nib.save(nib.Nifti1Image(pixels[..., :1], np.eye(4)), folder / "slice.nii.gz")
    Image.fromarray(pixels[..., 0]).save(folder / "grey.png")
    for name in ("plain.nii.gz", "slice.nii.gz", "grey.png"):
        image, _ = load_image(Case(name, folder / name, None), dataset)
        np.testing.assert_array_equal(image, pixels[None, ..., 0], err_msg=name)


def test_label_values_become_class_indices(folder: Path) -> None:
    """Values 0, 4 and 255 are the classes 0, 1 and 2, whatever the order in dataset.json."""
    edit(folder, labels={"255": "bright", "0": "background", "4": "dark"})
    dataset = read_dataset(folder)
    stored = np.array([[[0, 4], [255, 0]], [[4, 4], [0, 255]]], dtype=np.uint8)
    nib.save(nib.Nifti1Image(stored, np.eye(4)), case_of(dataset).label)
    label, _ = load_label(case_of(dataset), dataset)
    assert np.issubdtype(label.dtype, np.integer)
    np.testing.assert_array_equal(label, [[[0, 1], [2, 0]], [[1, 1], [0, 2]]])


@pytest.mark.parametrize(
    "change", [lambda voxels: voxels, lambda voxels: voxels + 5e-5, lambda voxels: voxels[..., None]]
)
def test_whole_floats_and_a_last_axis_of_one_are_accepted(folder: Path, change: Callable) -> None:
    dataset = read_dataset(folder)
    expected, _ = load_label(case_of(dataset), dataset)
    rewrite(case_of(dataset).label, change)
    label, _ = load_label(case_of(dataset), dataset)
    np.testing.assert_array_equal(label, expected)


def test_label_of_a_test_case(folder: Path) -> None:
    dataset = read_dataset(folder)
    with pytest.raises(UserError, match=r"^x: has no label"):
        load_label(Case("x", folder / "x.nii.gz", None), dataset)


# --- bad files ------------------------------------------------------------------------------------------------


def cut(path: Path, num_bytes: int) -> None:
    """Keeps ``num_bytes`` of the file, counted from the end if negative."""
    path.write_bytes(path.read_bytes()[:num_bytes])


def set_pixdim(path: Path, value: float) -> None:
    """Sets the first axis' spacing in the header, which nibabel itself would not write."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[80:84] = struct.pack("<f", value)
    path.write_bytes(gzip.compress(bytes(raw)))


FLAT = np.array([[1.0, 1.0, 0, 0], [0, 0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1]])  # two axes are one

IMAGE_FAULTS = [  # what is special, what is done to the image, the message
    ("absent", lambda path: path.unlink(), r"no such file, expected because it belongs to this case"),
    ("empty", lambda path: cut(path, 0), r"unreadable or truncated \(no NIfTI header\)"),
    ("cut in the voxels", lambda path: cut(path, 4000), r"truncated or damaged gzip .*download it again"),
    ("only the checksum cut", lambda path: cut(path, -4), r"truncated or damaged gzip"),
    ("no gzip", lambda path: path.write_bytes(b"x" * 999), r"truncated or damaged gzip \(Not a gzipped file"),
    ("NaN", lambda path: rewrite(path, with_value(np.nan)), r"NaN or infinity in 1 of 9216 voxels"),
    ("infinity", lambda path: rewrite(path, with_value(-np.inf)), r"NaN or infinity in 1 of 9216 voxels"),
    (
        "two channels",
        lambda path: rewrite(path, lambda voxels: np.stack([voxels, voxels], axis=-1)),
        r"found 2 channels \(stored shape 24x24x16x2\), expected 1 \(contrast 1\)",
    ),
    (
        "a slice",
        lambda path: rewrite(path, lambda voxels: voxels[..., 0]),
        r"shape 24x24, expected 3 spatial",
    ),
    (
        "flat affine",
        lambda path: rewrite(path, np.copy, FLAT),
        r"expected positive spacing and an invertible",
    ),
    ("spacing of zero", lambda path: set_pixdim(path, 0), r"found spacing 0, 1, 1 mm"),
]


@pytest.mark.parametrize(
    ("corrupt", "message"), [fault[1:] for fault in IMAGE_FAULTS], ids=[f[0] for f in IMAGE_FAULTS]
)
def test_bad_image_is_one_line_that_names_the_case(folder: Path, corrupt: Callable, message: str) -> None:
    dataset = read_dataset(folder)
    corrupt(case_of(dataset).image)
    with pytest.raises(UserError, match=rf"^{CASE}: .*imagesTr.*{message}") as caught:
        load_image(case_of(dataset), dataset)
    assert "\n" not in str(caught.value)
    load_label(case_of(dataset), dataset)  # the label beside it is sound


LABEL_FAULTS = [
    ("absent", lambda path: path.unlink(), r"no such file"),
    ("cut", lambda path: cut(path, 300), r"truncated or damaged gzip"),
    (
        "undeclared",
        lambda path: rewrite(path, with_value(7)),
        r"undeclared label values \(7\), expected 0, 1, 2, 3",
    ),
    ("next after declared", lambda path: rewrite(path, with_value(4)), r"undeclared label values \(4\)"),
    ("negative", lambda path: rewrite(path, with_value(-1)), r"undeclared label values \(-1\)"),
    (
        "fraction",
        lambda path: rewrite(path, with_value(1.5)),
        r"fractional label values \(1\.5\), expected whole",
    ),
    ("NaN", lambda path: rewrite(path, with_value(np.nan)), r"fractional label values \(nan\)"),
    (
        "one-hot",
        lambda path: rewrite(path, lambda voxels: np.stack([voxels == 0, voxels > 0], -1).astype(np.float32)),
        r"shape 24x24x16x2, expected a label of 3 axes and no channels",
    ),
]


@pytest.mark.parametrize(
    ("corrupt", "message"), [fault[1:] for fault in LABEL_FAULTS], ids=[f[0] for f in LABEL_FAULTS]
)
def test_bad_label_is_one_line_that_names_the_case(folder: Path, corrupt: Callable, message: str) -> None:
    dataset = read_dataset(folder)
    corrupt(case_of(dataset).label)
    with pytest.raises(UserError, match=rf"^{CASE}: .*labelsTr.*{message}") as caught:
        load_label(case_of(dataset), dataset)
    assert "\n" not in str(caught.value)


def test_undeclared_value_between_declared_ones(folder: Path) -> None:
    edit(folder, labels={"0": "background", "1": "a", "3": "b"})
    dataset = read_dataset(folder)
    with pytest.raises(UserError, match=rf"^{CASE}: .*undeclared label values \(2\), expected 0, 1, 3"):
        load_label(case_of(dataset), dataset)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.nii", b"\0" * 400, r"unreadable or truncated \(no NIfTI header\)"),
        ("x.nrrd", b"NRRD", r"unreadable or truncated \("),
        ("x.mha", b"", r"unreadable or truncated \(the header is damaged or voxels are missing\)"),
        ("x.mhd", b"", r"cannot be read, expected \.nii\.gz, \.nii, \.mha, \.nrrd in a 3-D"),
        ("x.png", b"", r"cannot be read, expected \.nii\.gz, \.nii, \.mha, \.nrrd in a 3-D"),
    ],
)
def test_file_of_another_kind(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"^x: .*{message}"):
        load_image(Case("x", folder / name, None), read_dataset(folder))


def test_truncated_file_without_gzip(folder: Path) -> None:
    path = folder / "x.nii"
    nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), np.float32), np.eye(4)), path)
    cut(path, 1000)
    with pytest.raises(UserError, match=r"^x: .*unreadable or truncated"):
        load_image(Case("x", path, None), read_dataset(folder))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_picture(demo_set_2d: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    cut(path, 900)
    with pytest.raises(UserError, match=r"^x: .*unreadable or truncated"):
        load_image(Case("x", path, None), read_dataset(demo_set_2d))


# --- real data ------------------------------------------------------------------------------------------------


def test_hippocampus(hippocampus: Path) -> None:
    dataset = read_dataset(hippocampus)
    assert (len(dataset.cases), dataset.num_channels, dataset.spatial_dims) == (200, 1, 3)
    assert dataset.class_names == ("background", "Anterior", "Posterior")
    image, _ = load_image(case_of(dataset, "hippocampus_001"), dataset)
    label, _ = load_label(case_of(dataset, "hippocampus_001"), dataset)
    assert image.shape == (1, *label.shape)
    assert set(np.unique(label)) == {0, 1, 2}


def test_brain_volumes_have_two_channels_and_five_classes(brats: Path) -> None:
    dataset = read_dataset(brats)
    assert (dataset.channel_names, dataset.num_classes, dataset.spatial_dims) == (("FLAIR", "T1c"), 5, 3)
    image, affine = load_image(dataset.cases[0], dataset)
    assert image.shape == (2, 240, 240, 155)
    assert nib.aff2axcodes(affine) == ("L", "P", "S")


def test_dermoscopy_pictures_and_masks(dermoscopy: Path, tmp_path: Path) -> None:
    images = sorted((dermoscopy / "images").glob("*.jpg"))
    description = {
        "tensorImageSize": "2D",
        "modality": {"0": "red", "1": "green", "2": "blue"},
        "labels": {"0": "background", "255": "lesion"},
        "training": [
            {"image": str(path), "label": str(dermoscopy / "masks" / f"{path.stem}.png")} for path in images
        ],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    dataset = read_dataset(tmp_path)
    assert dataset.label_values == (0, 255)
    for case in dataset.cases:
        image, affine = load_image(case, dataset)
        label, _ = load_label(case, dataset)
        assert image.shape == (3, 450, 600)
        np.testing.assert_array_equal(affine, np.eye(4))
        assert label.shape == (450, 600)
        assert set(np.unique(label)) == {0, 1}
