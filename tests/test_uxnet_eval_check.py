"""The check of a data set: it lists every fault and says nothing of what is sound."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from search_space.errors import UserError
from uxnet_eval.dataset.check import MIN_CASES, Fault, check_dataset, grid_mismatch


@pytest.fixture
def folder(demo_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_set, tmp_path / "set"))


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "dataset.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], shift_mm: float = 0.0) -> None:
    old = nib.load(path)
    affine = old.affine.copy()
    affine[0, 3] += shift_mm
    nib.save(nib.Nifti1Image(change(np.asarray(old.dataobj, dtype=np.float32)), affine), path)


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(voxels: np.ndarray) -> np.ndarray:
        voxels[1, 2, 3] = value
        return voxels

    return change


def test_sound_sets_have_no_fault(demo_set: Path, demo_set_2d: Path) -> None:
    assert check_dataset(demo_set) == []
    assert check_dataset(demo_set_2d) == []


def test_lists_every_fault_in_the_order_of_the_cases(folder: Path) -> None:
    images, labels = folder / "imagesTr", folder / "labelsTr"
    (images / "demo_000.nii.gz").unlink()
    truncated = labels / "demo_001.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:200])
    rewrite(labels / "demo_002.nii.gz", lambda voxels: voxels[:, :, 1:])
    rewrite(labels / "demo_003.nii.gz", np.copy, shift_mm=0.01)
    rewrite(images / "demo_004.nii.gz", with_value(np.nan))
    rewrite(labels / "demo_004.nii.gz", with_value(9))
    rewrite(images / "demo_005.nii.gz", lambda voxels: np.stack([voxels, voxels], axis=-1))
    rewrite(labels / "demo_006.nii.gz", with_value(0.5))
    edit(folder, lambda description: description["labels"].update({"6": "ghost"}))
    expected = [
        ("demo_000", r"imagesTr/demo_000.nii.gz: no such file.*; add it or drop the case"),
        ("demo_001", r"labelsTr/demo_001.nii.gz: truncated or damaged gzip.*; copy or download it again"),
        ("demo_002", r"image of shape 24x24x16 and a label of shape 24x24x15, expected one shape; resample"),
        (
            "demo_003",
            r"different affines \(corners up to 0\.01 voxels apart\), expected at most 0\.001; copy",
        ),
        ("demo_004", r"imagesTr/demo_004.nii.gz: found NaN or infinity in 1 of 9216 voxels.*; export"),
        (
            "demo_004",
            r"labelsTr/demo_004.nii.gz: found undeclared label values \(9\), expected 0, 1, 2, 3, 6; mend",
        ),
        ("demo_005", r"found 2 channels \(stored shape 24x24x16x2\), expected 1 \(contrast 1\); mend"),
        ("demo_006", r"fractional label values \(0\.5\), expected whole ones; if the label was resampled"),
        (
            "Demo",
            r"class ghost \(label value 6\) occurs in none of 5 sound training labels, expected at least one",
        ),
    ]
    steps: list[tuple[int, int]] = []
    faults = check_dataset(folder, progress=lambda num_done, total: steps.append((num_done, total)))
    assert [fault.case_id for fault in faults] == [case_id for case_id, _ in expected]
    for fault, (_, message) in zip(faults, expected, strict=True):
        assert re.search(message, fault.message), fault
        assert "\n" not in str(fault)
    assert steps == [(num_done, 8) for num_done in range(1, 9)]


def test_whole_valued_float_labels_are_no_fault(folder: Path) -> None:
    rewrite(folder / "labelsTr" / "demo_000.nii.gz", np.copy)
    assert nib.load(folder / "labelsTr" / "demo_000.nii.gz").get_data_dtype() == np.float32
    assert check_dataset(folder) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_offset_that_is_no_number_is_a_fault_in_the_label_alone_too(folder: Path, value: float) -> None:
    path = folder / "labelsTr" / "demo_000.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    dtype = nib.Nifti1Header.template_dtype
    place = dtype.fields["srow_x"][1] + 3 * 4  # the last of four numbers of 32 bit
    content[place : place + 4] = np.float32(value).tobytes()
    place = dtype.fields["sform_code"][1]
    content[place : place + 2] = np.int16(1).tobytes()
    path.write_bytes(gzip.compress(bytes(content)))
    (fault,) = check_dataset(folder)
    assert fault.case_id == "demo_000" and f"the offset {value}" in fault.message


def test_flat_affine_is_a_fault(folder: Path) -> None:
    path = folder / "imagesTr" / "demo_000.nii.gz"
    affine = np.array([[1.0, 1.0, 0, 0], [0, 0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), affine), path)
    (fault,) = check_dataset(folder)
    assert fault.case_id == "demo_000"
    assert "expected positive spacing and an invertible affine; write a valid header" in fault.message


def test_class_that_only_a_test_case_could_show_is_missing(folder: Path) -> None:
    """Class 3 is erased from every training label; a listed test case does not count."""
    shutil.copy(folder / "imagesTr" / "demo_000.nii.gz", folder / "test_0.nii.gz")
    shutil.copy(folder / "labelsTr" / "demo_000.nii.gz", folder / "label_0.nii.gz")
    edit(folder, lambda d: d.update(test=[{"image": "test_0.nii.gz", "label": "label_0.nii.gz"}], numTest=1))
    for path in (folder / "labelsTr").iterdir():
        rewrite(path, lambda voxels: np.where(voxels == 3, 0, voxels))
    (fault,) = check_dataset(folder)
    assert fault.case_id == "Demo"
    assert re.match(r"class small organ \(label value 3\) occurs in none of 8 ", fault.message)


def test_absent_test_image_is_a_fault(folder: Path) -> None:
    edit(folder, lambda description: description.update(test=["./imagesTs/late.nii.gz"], numTest=1))
    (fault,) = check_dataset(folder)
    assert fault.case_id == "late"


@pytest.mark.parametrize("num_cases", [MIN_CASES - 1, MIN_CASES])
def test_too_few_cases_to_split(folder: Path, num_cases: int) -> None:
    edit(folder, lambda d: d.update(training=d["training"][:num_cases], numTraining=num_cases))
    faults = check_dataset(folder)
    if num_cases == MIN_CASES:
        assert faults == []
    else:
        message = (
            "found 2 training cases, expected at least 3 (one to validate, one for each half of the search)"
        )
        assert faults == [Fault("Demo", f"{message}; add cases")]


def test_unreadable_description_is_an_error(folder: Path) -> None:
    (folder / "dataset.json").write_text("{")
    with pytest.raises(UserError, match=r"dataset\.json: cannot be read"):
        check_dataset(folder)


def turned(degrees: float) -> np.ndarray:
    """A turn about the third axis."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.eye(4)
    affine[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return affine


THICK = np.diag([0.5, 0.5, 7.5, 1.0])
THICK_SHIFTED_BY_7UM = THICK + np.array([[0, 0, 0, 0]] * 2 + [[0, 0, 0, 0.007]] + [[0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("affine", "other", "mismatch"),
    [
        (np.eye(4), np.eye(4), None),
        (THICK, THICK_SHIFTED_BY_7UM, None),  # 0.007 mm of 7.5 mm is 0.00093 voxels
        (np.eye(4), np.eye(4) + THICK_SHIFTED_BY_7UM - THICK, "0.007 voxels apart"),  # of 1 mm it is 0.007
        (np.eye(4), turned(0.1), "0.176 voxels apart"),  # corner (101, 101): 101 (sin + 1 - cos) = 0.17643
        (np.eye(4), np.diag([1, 1, 1.01, 1]), "0.09 voxels apart"),  # 9 steps of 0.01
        (np.eye(4), np.diag([-1.0, 1, 1, 1]), "202 voxels apart"),  # mirrored: from 101 to -101
    ],
)
def test_grids_are_compared_at_the_corners(
    affine: np.ndarray, other: np.ndarray, mismatch: str | None
) -> None:
    found = grid_mismatch((102, 102, 10), affine, (102, 102, 10), other)
    assert (found is None) if mismatch is None else (found is not None and mismatch in found)


def test_hippocampus_has_no_fault(hippocampus: Path) -> None:
    """Two of its label files are stored as float32 with whole values, which is accepted."""
    assert check_dataset(hippocampus) == []


@pytest.mark.slow
def test_brain_volumes_have_no_fault(brats: Path) -> None:
    assert check_dataset(brats) == []
