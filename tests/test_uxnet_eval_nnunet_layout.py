"""Raw folders of nnU-Net: read as they are, and one line for what does not fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from nnunet_folder import edit, write_nnunet_folder
from PIL import Image
from typer.testing import CliRunner

from search_space.errors import UserError
from uxnet_eval.cli import app
from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.arrays import load_image, load_label
from uxnet_eval.dataset.check import check_dataset
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.prediction.scans import find_scans, load_scan
from uxnet_eval.preprocessing.prepared_cases import PreparedCases

NUM_REAL = 6


@pytest.fixture
def folder(demo_set: Path, tmp_path: Path) -> Path:
    return write_nnunet_folder(tmp_path / "Dataset001_Demo", read_dataset(demo_set))


def refused(folder: Path) -> str:
    """What ``uxnet check`` says about a folder that cannot be read: one line, exit code 1."""
    with pytest.raises(UserError) as caught:
        read_dataset(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.5, 1.2, 1.0)])
def test_hippocampus_gives_the_arrays_of_its_msd_folder(
    hippocampus: Path, tmp_path: Path, ending: str, spacing_mm: tuple[float, float, float]
) -> None:
    msd = read_dataset(hippocampus)
    raw = read_dataset(write_nnunet_folder(tmp_path / "Dataset004_Hippocampus", msd, ending, NUM_REAL))
    assert (raw.class_names, raw.label_values) == (msd.class_names, msd.label_values)
    assert (raw.channel_names, raw.spatial_dims) == (msd.channel_names, 3)
    assert raw.name == "Dataset004_Hippocampus"
    plan = Plan(spacing_mm=spacing_mm, patch_size=(16, 16, 16), strides=((2, 2, 2),))
    of_msd = {item["case_id"]: item for item in PreparedCases(msd.cases[:NUM_REAL], msd, plan)}
    of_raw = {item["case_id"]: item for item in PreparedCases(raw.cases, raw, plan)}
    assert len(of_raw) == NUM_REAL and of_raw.keys() == of_msd.keys()
    for case_id, item in of_raw.items():
        assert torch.equal(item["image"], of_msd[case_id]["image"])
        assert torch.equal(item["label"], of_msd[case_id]["label"])
        np.testing.assert_allclose(item["grid"].affine, of_msd[case_id]["grid"].affine, atol=1e-5)


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_oblique_volumes_lie_where_nifti_says(tmp_path: Path, ending: str) -> None:
    """SimpleITK writes what nibabel reads: the same array and affine, axes turned and tilted."""
    angle = 0.3
    affine = np.eye(4)
    affine[:3, :3] = np.array(
        [[0, -np.cos(angle), np.sin(angle)], [0, np.sin(angle), np.cos(angle)], [1, 0, 0]]
    ) * (0.5, 1.5, 3)
    affine[:3, 3] = (10, -20, 30)
    stored = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    nib.save(nib.Nifti1Image(stored, affine), tmp_path / "a.nii.gz")
    image = SimpleITK.ReadImage(str(tmp_path / "a.nii.gz"))
    SimpleITK.WriteImage(image, str(tmp_path / f"a{ending}"))
    from uxnet_eval.dataset.image_file import read_file

    array, found = read_file("a", tmp_path / f"a{ending}", 3)
    np.testing.assert_array_equal(array, stored)
    np.testing.assert_allclose(found, affine, atol=1e-5)


def two_channels(folder: Path, shift: float = 0.0) -> np.ndarray:
    """Adds a second channel to every case, the first times two; the image of the first case (2, *S)."""
    edit(folder, channel_names={"0": "T1", "1": "T2"})
    for path in sorted((folder / "imagesTr").glob("*_0000.nii.gz")):
        volume = nib.load(path)
        affine = volume.affine.copy()
        affine[0, 3] += shift
        second = np.asanyarray(volume.dataobj) * 2
        nib.save(nib.Nifti1Image(second, affine), str(path).replace("_0000", "_0001"))
    first = np.asanyarray(nib.load(min((folder / "imagesTr").glob("*_0000.nii.gz"))).dataobj)
    return np.stack([first, 2 * first])


def test_channels_are_files(folder: Path) -> None:
    expected = two_channels(folder)
    dataset = read_dataset(folder)
    image, _ = load_image(dataset.cases[0], dataset)
    np.testing.assert_array_equal(image, expected)
    assert dataset.channel_names == ("T1", "T2") and dataset.num_channels == 2
    assert check_dataset(folder) == []


def test_missing_channel_is_a_fault_of_its_case(folder: Path) -> None:
    two_channels(folder)
    (folder / "imagesTr" / "demo_002_0001.nii.gz").unlink()
    (fault,) = check_dataset(folder)
    assert fault.case_id == "demo_002" and "demo_002_0001.nii.gz: no such file" in fault.message


def test_channels_on_other_grids(folder: Path) -> None:
    two_channels(folder, shift=0.5)
    dataset = read_dataset(folder)
    with pytest.raises(UserError, match=r"demo_000_0001\.nii\.gz: lies on another grid than demo_000_0000"):
        load_image(dataset.cases[0], dataset)
    assert len(check_dataset(folder)) == len(dataset.cases)


def test_test_cases_and_what_is_predicted(folder: Path) -> None:
    two_channels(folder)
    (folder / "imagesTs").mkdir()
    for number in ("0000", "0001"):
        source = folder / "imagesTr" / f"demo_003_{number}.nii.gz"
        shutil.copyfile(source, folder / "imagesTs" / f"new_{number}.nii.gz")
    dataset = read_dataset(folder)
    assert [case.case_id for case in dataset.test_cases] == ["new"]
    (scan,) = find_scans(folder, ("T1", "T2"), 3)
    image, _ = load_scan(scan, ("T1", "T2"), 3)
    expected, _ = load_image(dataset.cases[3], dataset)
    np.testing.assert_array_equal(image, expected)
    (alone,) = find_scans(folder / "imagesTs", ("T1", "T2"), 3)
    assert alone == scan


def test_colour_pictures_are_one_file(tmp_path: Path) -> None:
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    mask = np.zeros((8, 9), np.uint8)
    mask[2:5, 3:6] = 1
    for number in range(3):
        Image.fromarray(pixels).save(tmp_path / f"imagesTr/p{number}_0000.png")
        Image.fromarray(mask).save(tmp_path / f"labelsTr/p{number}.png")
    (tmp_path / "dataset.json").write_text("{}")
    edit(
        tmp_path,
        channel_names={"0": "R", "1": "G", "2": "B"},
        labels={"background": 0, "spot": 1},
        file_ending=".png",
        numTraining=3,
    )
    dataset = read_dataset(tmp_path)
    assert dataset.spatial_dims == 2
    image, _ = load_image(dataset.cases[0], dataset)
    np.testing.assert_array_equal(image, np.moveaxis(pixels, -1, 0))
    assert check_dataset(tmp_path) == []


def test_flat_volumes_are_2d(folder: Path) -> None:
    for path in folder.glob("*Tr/*"):
        volume = nib.load(path)
        nib.save(nib.Nifti1Image(np.asanyarray(volume.dataobj)[:, :, 8:9], volume.affine), path)
    dataset = read_dataset(folder)
    assert dataset.spatial_dims == 2
    assert load_image(dataset.cases[0], dataset)[0].shape == (1, 24, 24)
    assert load_label(dataset.cases[0], dataset)[0].shape == (24, 24)


def test_cases_may_be_listed(folder: Path, tmp_path: Path) -> None:
    """nnU-Net's key ``dataset``: files that lie anywhere."""
    shutil.move(folder / "imagesTr", tmp_path / "elsewhere")
    listed = {
        name: {"images": [f"../elsewhere/{name}_0000.nii.gz"], "label": f"labelsTr/{name}.nii.gz"}
        for name in ("demo_001", "demo_000")
    }
    edit(folder, dataset=listed, numTraining=2)
    dataset = read_dataset(folder)
    assert [case.case_id for case in dataset.cases] == ["demo_000", "demo_001"]
    load_image(dataset.cases[0], dataset)


def test_labels_keep_their_values(folder: Path) -> None:
    values = {"background": 0, "bright": 3, "dark": [2], "grey": "1"}
    edit(folder, labels=values)
    dataset = read_dataset(folder)
    assert dataset.class_names == ("background", "grey", "dark", "bright")
    assert dataset.label_values == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]},
            r"declares regions \(whole\), and training on regions that overlap is not offered; give each label one",
        ),
        ({"regions_class_order": [1, 2]}, "labels declares regions, and training on regions"),
        ({"labels": {"background": 0, "organ": 1, "ignore": 2}}, "declares a label to ignore, which is not"),
        ({"labels": {"background": 0, "organ": True}}, "gives organ the value True, expected a whole number"),
        ({"labels": {"background": 0, "organ": 1, "other": 1}}, "gives organ and other the value 1"),
        ({"labels": {"organ": 1, "other": 2}}, r"the values \[1, 2\], expected 0 \(background\)"),
        ({"labels": [1]}, r"labels is \[1\], expected names and values"),
        ({"labels": {"0": "background", "1": "organ"}}, "gives 0 the value 'background', expected a whole"),
        ({"file_ending": ".tif"}, "file_ending is '.tif', expected one of .nii.gz"),
        ({"file_ending": None}, "file_ending is None, expected one of"),
        ({"channel_names": {"1": "T1"}}, r"channel_names has the keys \[1\], expected \[0\]"),
        ({"channel_names": {"0": "T1"}, "dataset": {}}, r"dataset is {}, expected an object of cases"),
        ({"dataset": {"a": {"images": ["a.nii.gz"]}}}, "for a, expected images, a list, and label"),
        (
            {"dataset": {"a": {"images": ["a.mha"], "label": "a.nii.gz"}}},
            r"dataset lists mixed file endings: a.mha beside the file_ending .nii.gz",
        ),
    ],
)
def test_bad_description(folder: Path, changes: dict, message: str) -> None:
    import re

    edit(folder, **changes)
    assert re.search(message, refused(folder)), refused(folder)


def test_bad_files(folder: Path) -> None:
    images, labels = folder / "imagesTr", folder / "labelsTr"
    shutil.copyfile(images / "demo_000_0000.nii.gz", images / "demo_000_0000.mha")
    assert "imagesTr: holds mixed file endings: demo_000_0000.mha beside the file_ending .nii.gz (1 of 9" in (
        refused(folder)
    )
    found = CliRunner().invoke(app, ["check", str(folder)])
    assert isinstance(found.exception, UserError) and "mixed file endings" in str(found.exception)
    (images / "demo_000_0000.mha").rename(images / "notes.txt")  # of another kind: no image
    assert len(read_dataset(folder).cases) == 8
    (images / "demo_000_0000.nii.gz").rename(images / "demo_000.nii.gz")
    assert "demo_000.nii.gz: has no channel number, expected a name such as demo_000_0000.nii" in refused(
        folder
    )
    (images / "demo_000.nii.gz").rename(images / "demo_000_0001.nii.gz")
    assert "demo_000_0001.nii.gz: is channel 1, expected 1 channels from 0" in refused(folder)
    (images / "demo_000_0001.nii.gz").unlink()
    assert "labelsTr/demo_000.nii.gz: is the label of no case" in refused(folder)
    (labels / "demo_000.nii.gz").unlink()
    (labels / "demo_001.nii.gz").unlink()
    with pytest.warns(UserWarning, match="numTraining is 8 but 7 cases are listed"):
        faults = check_dataset(folder)
    assert [fault.case_id for fault in faults] == ["demo_001"] and "no such file" in faults[0].message
    shutil.rmtree(images)
    assert "imagesTr: no such folder, expected one in a raw folder of nnU-Net" in refused(folder)


def test_damaged_metaimage_is_a_fault(demo_set: Path, tmp_path: Path) -> None:
    folder = write_nnunet_folder(tmp_path / "Dataset002_Demo", read_dataset(demo_set), ".mha")
    path = folder / "imagesTr" / "demo_000_0000.mha"
    path.write_bytes(path.read_bytes()[:-500])
    (fault,) = check_dataset(folder)
    assert fault.case_id == "demo_000" and "unreadable or truncated (the header is damaged or voxels" in str(
        fault
    )
    for image in (folder / "imagesTr").iterdir():
        image.write_bytes(b"")
    assert "none of its 8 images can be read" in refused(folder)
