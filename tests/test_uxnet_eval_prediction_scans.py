"""What is found to predict, how it is read, and what is said of a file that does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from search_space.errors import UserError
from uxnet_eval.prediction.scans import Scan, find_scans, load_scan


def write(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4) if affine is None else affine), path)
    return path


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


def write_description(folder: Path, **changes: object) -> Path:
    description = {
        "tensorImageSize": "4D",
        "modality": {"0": "FLAIR", "1": "T1"},
        "labels": {"0": "background", "1": "tumour"},
        "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
        "test": ["./imagesTs/b.nii.gz", "./imagesTs/c.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps({**description, **changes}))
    return folder


def test_a_folder_gives_its_images(tmp_path: Path) -> None:
    touch(tmp_path, "b.nii", "a.nii.gz", ".hidden.nii.gz", "notes.txt", "c.png")
    (tmp_path / "sub").mkdir()
    touch(tmp_path / "sub", "d.nii.gz")
    assert find_scans(tmp_path, ["MRI"], 3) == [
        Scan("a", (tmp_path / "a.nii.gz",)),
        Scan("b", (tmp_path / "b.nii",)),
    ]


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "a.jpg")
    assert [scan.case_id for scan in find_scans(tmp_path, ["r", "g", "b"], 2)] == ["a", "b"]


def test_one_file(tmp_path: Path) -> None:
    touch(tmp_path, "b.nii", "a.nii.gz")
    assert find_scans(tmp_path / "b.nii", ["MRI"], 3) == [Scan("b", (tmp_path / "b.nii",))]


def test_a_data_set_gives_its_test_cases_or_training_cases(tmp_path: Path) -> None:
    write_description(tmp_path)
    scans = find_scans(tmp_path, ["FLAIR", "T1"], 3)
    assert [(scan.case_id, scan.files[0].parent.name) for scan in scans] == [
        ("b", "imagesTs"),
        ("c", "imagesTs"),
    ]
    scans = find_scans(tmp_path, ["FLAIR", "T1"], 3, training_cases=True)
    assert [(scan.case_id, scan.files[0].parent.name) for scan in scans] == [("a", "imagesTr")]


@pytest.mark.parametrize(
    ("names", "num_channels", "expected"),
    [
        pytest.param(
            ["a_0000", "a_0001", "b_0000", "b_0001"], 2, {"a": 2, "b": 2}, id="nnU-Net's names, two channels"
        ),
        pytest.param(["a_0000", "b_0000"], 1, {"a": 1, "b": 1}, id="nnU-Net's names, one channel"),
        pytest.param(["a_0000", "a_0001", "b_0000"], 2, {"a": 2, "b": 1}, id="one case lacks a channel"),
        pytest.param(["p_0001", "p_0002"], 1, {"p_0001": 1, "p_0002": 1}, id="numbered cases"),
        pytest.param(["p_0000", "p_0001"], 1, {"p_0000": 1, "p_0001": 1}, id="numbered cases from 0"),
        pytest.param(
            ["p_0001", "p_0002"], 2, {"p_0001": 1, "p_0002": 1}, id="numbered cases of two channels"
        ),
        pytest.param(
            ["a_0000", "a_0001", "b"], 2, {"a_0000": 1, "a_0001": 1, "b": 1}, id="one of another name"
        ),
        pytest.param(["a_001"], 1, {"a_001": 1}, id="three digits"),
    ],
)
def test_files_of_one_channel_each(
    tmp_path: Path, names: list[str], num_channels: int, expected: dict[str, int]
) -> None:
    touch(tmp_path, *[f"{name}.nii.gz" for name in names])
    scans = find_scans(tmp_path, [f"c{i}" for i in range(num_channels)], 3)
    assert {scan.case_id: len(scan.files) for scan in scans} == expected
    assert all(list(scan.files) == sorted(scan.files) for scan in scans)


def test_chosen_cases(tmp_path: Path) -> None:
    touch(tmp_path, "scan_1.nii.gz", "scan_2.nii.gz", "scan_3.nii.gz")
    scans = find_scans(tmp_path, ["MRI"], 3, case_ids=["scan_3", "scan_1", "scan_3"])
    assert [scan.case_id for scan in scans] == ["scan_3", "scan_1"]
    with pytest.raises(UserError, match=r"has no case scan_4 \(did you mean 'scan_\d'\?\) among its 3"):
        find_scans(tmp_path, ["MRI"], 3, case_ids=["scan_4"])


def test_nothing_to_predict(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: no such file or folder"):
        find_scans(tmp_path / "absent", ["MRI"], 3)
    with pytest.raises(
        UserError, match=r"holds no images \(\.nii\.gz, \.nii, \.mha, \.nrrd\) and no dataset\.json"
    ):
        find_scans(touch(tmp_path, "c.png"), ["MRI"], 3)
    with pytest.raises(UserError, match=r"holds no dataset\.json, so it has no training cases"):
        find_scans(tmp_path, ["MRI"], 3, training_cases=True)
    write_description(tmp_path, test=[])
    with pytest.raises(UserError, match=r"dataset\.json: lists no test case.*--training"):
        find_scans(tmp_path, ["FLAIR", "T1"], 3)


def test_two_files_of_one_case(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii", "a.nii.gz")
    with pytest.raises(UserError, match=r"^a: found both .*a\.nii and a\.nii\.gz"):
        find_scans(tmp_path, ["MRI"], 3)


@pytest.mark.parametrize(
    ("channels", "spatial_dims", "message"),
    [
        (["FLAIR"], 3, "declares the channels FLAIR, T1, expected FLAIR, as the checkpoint"),
        (["T1", "FLAIR"], 3, "declares the channels FLAIR, T1, expected T1, FLAIR.*in this order"),
        (["FLAIR", "T1"], 2, "describes 3-D images, expected 2-D"),
    ],
)
def test_data_set_that_does_not_fit(
    tmp_path: Path, channels: list[str], spatial_dims: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        find_scans(write_description(tmp_path), channels, spatial_dims)


def test_other_names_of_the_channels_are_a_warning(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match="calls the channels FLAIR, T1, the checkpoint F, T; taken as the same"
    ):
        assert len(find_scans(write_description(tmp_path), ["F", "T"], 3)) == 2


def test_channels_are_the_last_axis(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((3, 4, 5, 2)).astype(np.float32)
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    path = write(tmp_path / "a.nii.gz", array, affine)
    image, loaded_affine = load_scan(Scan("a", (path,)), ["x", "y"], 3)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, np.moveaxis(array, -1, 0))
    np.testing.assert_array_equal(loaded_affine, affine)


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 1), (3, 4, 5, 1, 1)])
def test_one_channel_with_or_without_its_axis(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write(tmp_path / "a.nii", np.arange(60).reshape(shape))
    image, _ = load_scan(Scan("a", (path,)), ["MRI"], 3)
    np.testing.assert_array_equal(image, np.arange(60).reshape(1, 3, 4, 5))


def test_channels_on_the_fifth_axis(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", np.arange(120).reshape(3, 4, 5, 1, 2))
    image, _ = load_scan(Scan("a", (path,)), ["x", "y"], 3)
    np.testing.assert_array_equal(image[1].ravel(), np.arange(1, 120, 2))


def test_one_file_for_each_channel(tmp_path: Path) -> None:
    files = tuple(write(tmp_path / f"a_000{c}.nii.gz", np.full((3, 4, 5), c)) for c in range(2))
    image, _ = load_scan(Scan("a", files), ["x", "y"], 3)
    assert image.shape == (2, 3, 4, 5) and image[0].max() == 0 and image[1].min() == 1


def test_picture(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (6, 4, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    image, affine = load_scan(Scan("a", (tmp_path / "a.png",)), ["r", "g", "b"], 2)
    np.testing.assert_array_equal(image, np.moveaxis(array, -1, 0))
    np.testing.assert_array_equal(affine, np.eye(4))


@pytest.mark.parametrize(
    ("shape", "channels", "message"),
    [
        (
            (4, 4, 4, 12),
            ["MRI"],
            r"found a 4-D array \(stored shape 4x4x4x12\), expected a 3-D one, 1 channel \(MRI\), as the checkpoint",
        ),
        ((4, 4, 4), ["F", "T"], r"found 1 channel \(stored shape 4x4x4\), expected 2 channels \(F, T\)"),
        (
            (4, 4, 4, 3),
            ["F", "T"],
            r"found 3 channels \(stored shape 4x4x4x3\), expected 2 channels \(F, T\)",
        ),
        ((4, 4), ["MRI"], r"found a 2-D array of shape 4x4, expected 3 spatial axes and 1 channel"),
        ((4, 4, 4, 2, 2), ["F", "T"], r"found a 5-D array of shape 4x4x4x2x2, expected 3 spatial axes"),
    ],
)
def test_other_axes_or_channels(
    tmp_path: Path, shape: tuple[int, ...], channels: list[str], message: str
) -> None:
    path = write(tmp_path / "a.nii.gz", np.zeros(shape))
    with pytest.raises(UserError, match=rf"^a: .*a\.nii\.gz: {message}"):
        load_scan(Scan("a", (path,)), channels, 3)


def test_broken_files(tmp_path: Path) -> None:
    path = write(tmp_path / "nan.nii.gz", np.array([[[1, np.nan], [np.inf, 0]]]))
    with pytest.raises(UserError, match=r"^nan: .*nan\.nii\.gz: found NaN or infinity in 2 of 4 voxels"):
        load_scan(Scan("nan", (path,)), ["MRI"], 3)
    path = write(tmp_path / "cut.nii.gz", np.random.default_rng(0).random((9, 9, 9)))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UserError, match=r"^cut: .*cut\.nii\.gz: truncated or damaged gzip"):
        load_scan(Scan("cut", (path,)), ["MRI"], 3)
    with pytest.raises(UserError, match=r"^a: .*a\.mhd: this kind of file cannot be read"):
        load_scan(Scan("a", (touch(tmp_path, "a.mhd") / "a.mhd",)), ["MRI"], 3)


def test_channels_that_do_not_go_together(tmp_path: Path) -> None:
    first = write(tmp_path / "a_0000.nii.gz", np.zeros((4, 4, 4)))
    shape = write(tmp_path / "a_0001.nii.gz", np.zeros((4, 4, 5)))
    shifted = write(tmp_path / "b_0001.nii.gz", np.zeros((4, 4, 4)), np.diag([2.0, 1, 1, 1]))
    two = write(tmp_path / "c_0001.nii.gz", np.zeros((4, 4, 4, 2)))
    names = ["x", "y"]
    with pytest.raises(UserError, match=r"^a: .*a_0001.* another grid than a_0000.*4x4x5 and 4x4x4"):
        load_scan(Scan("a", (first, shape)), names, 3)
    with pytest.raises(UserError, match=r"^a: .*b_0001\.nii\.gz lies on another grid"):
        load_scan(Scan("a", (first, shifted)), names, 3)
    with pytest.raises(UserError, match=r"^a: .*c_0001\.nii\.gz: found a 4-D array"):
        load_scan(Scan("a", (first, two)), names, 3)
    with pytest.raises(
        UserError, match=r"^a: found the files a_0000\.nii\.gz, a_0001.*one for each of 3 channels"
    ):
        load_scan(Scan("a", (first, shape)), ["x", "y", "z"], 3)
    with pytest.raises(UserError, match=r"^a: .*a_0000\.nii\.gz: found 1 channel .*expected 2 channels"):
        load_scan(Scan("a", (first,)), names, 3)
