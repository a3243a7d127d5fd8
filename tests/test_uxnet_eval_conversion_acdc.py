"""ACDC into the project's layout: frames, patients, what is kept for the test, and every fault in one line."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from search_space import UserError
from uxnet_eval.cli import app
from uxnet_eval.conversion.acdc import convert_acdc
from uxnet_eval.dataset.check import check_dataset
from uxnet_eval.dataset.folds import split_fold
from uxnet_eval.dataset.msd import read_dataset

SHAPE = (6, 7, 3)
AFFINE = np.diag([1.5, 1.5, 10.0, 1.0])


def save(path: Path, voxels: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(voxels, AFFINE), path)


def write_patient(folder: Path, number: int, ed: int = 1, es: int = 12, labelled: bool = True) -> Path:
    """A patient as ACDC publishes one: two frames and their labels, the film, and what Info.cfg says."""
    patient = folder / f"patient{number:03d}"
    patient.mkdir(parents=True)
    random = np.random.default_rng(number)
    for frame in (ed, es):
        stem = f"{patient.name}_frame{frame:02d}"
        save(patient / f"{stem}.nii.gz", random.normal(size=SHAPE).astype(np.float32))
        if labelled:
            save(patient / f"{stem}_gt.nii.gz", random.integers(0, 4, SHAPE, dtype=np.uint8))
    save(patient / f"{patient.name}_4d.nii.gz", np.zeros((*SHAPE, 2), dtype=np.float32))
    info = f"ED: {ed}\nES: {es}\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n"
    (patient / "Info.cfg").write_text(info)
    return patient


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "database"
    for number in (1, 2, 3):
        write_patient(folder / "training", number, es=10 + number)
    write_patient(folder / "testing", 101)
    return folder


def test_published_folders_become_a_sound_data_set(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "Task10_ACDC"
    done = CliRunner().invoke(app, ["convert", "acdc", str(published), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "wrote 6 case(s) and 2 to test on" in done.output
    assert check_dataset(out) == []
    dataset = read_dataset(out)
    names = [f"patient{number:03d}_frame{frame:02d}" for number in (1, 2, 3) for frame in (1, 10 + number)]
    assert [case.case_id for case in dataset.cases] == names
    assert [case.case_id for case in dataset.test_cases] == ["patient101_frame01", "patient101_frame12"]
    assert dataset.class_names == ("background", "right ventricle", "myocardium", "left ventricle")
    for name in names:
        for copy, ending in ((f"imagesTr/{name}.nii.gz", ""), (f"labelsTr/{name}.nii.gz", "_gt")):
            source = published / "training" / name.split("_")[0] / f"{name}{ending}.nii.gz"
            assert (out / copy).read_bytes() == source.read_bytes()
    groups = json.loads((out / "dataset.json").read_text())["groups"]
    assert groups == {
        case: case.split("_")[0] for case in [*names, "patient101_frame01", "patient101_frame12"]
    }


def test_patients_of_the_test_may_lack_labels(published: Path, tmp_path: Path) -> None:
    write_patient(published / "testing", 102, labelled=False)
    made = convert_acdc(published, tmp_path / "out")
    assert [("label" in entry) for entry in made.test] == [True, True, False, False]


def test_both_frames_of_a_patient_lie_in_one_fold(tmp_path: Path) -> None:
    for number in range(1, 8):
        write_patient(tmp_path / "database", number)
    convert_acdc(tmp_path / "database", tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    for fold in range(5):
        parts = split_fold(dataset, fold=fold, num_folds=5, seed=0)
        learned, held_out = ({case.case_id.split("_")[0] for case in part} for part in parts)
        assert held_out and not learned & held_out


def test_every_fault_is_named_in_one_line(published: Path, tmp_path: Path) -> None:
    training = published / "training"
    (write_patient(training, 10) / "Info.cfg").unlink()
    (write_patient(training, 4) / "Info.cfg").write_text("ED: 1\nGroup: DCM\n")
    (write_patient(training, 5) / "patient005_frame12_gt.nii.gz").unlink()
    (write_patient(training, 6) / "patient006_frame01.nii.gz").unlink()
    save(write_patient(training, 7) / "patient007_frame01_gt.nii.gz", np.full(SHAPE, 4, dtype=np.uint8))
    save(write_patient(training, 8) / "patient008_frame12_gt.nii.gz", np.zeros((6, 7, 4), dtype=np.uint8))
    (write_patient(training, 9) / "patient009_frame01.nii.gz").write_bytes(b"no image")
    with pytest.raises(UserError) as caught:
        convert_acdc(published, tmp_path / "out")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "Info.cfg is missing or does not name ED and ES: patient004, patient010",
        "images without a label: patient005_frame12",
        "frames without an image: patient006_frame01",
        "labels with other values than 0 to 3: patient007_frame01 (4)",
        "of different shape: patient008_frame12 (6x7x3, label 6x7x4)",
        "files that cannot be read: (patient009_frame01: ",
        "mend these files, or remove the patients' folders",
    ):
        assert part in message
    assert [path.name for path in tmp_path.iterdir()] == ["database"]


def test_folders_that_make_no_data_set(published: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no folder patientXXX"):
        convert_acdc(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UserError, match="holds patients to test on alone"):
        convert_acdc(published / "testing", tmp_path / "out")
