"""A DICOM series made from a scan, segmented, and read back with pydicom alone."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from trained_networks import train
from typer.testing import CliRunner

from uxnet_eval import cli

pytestmark = [
    pytest.mark.exports,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("pydicom", "highdicom", "SimpleITK")),
        reason="pydicom, highdicom or SimpleITK is missing: make test-exports",
    ),
]

TILT = np.deg2rad(20)
ROW = np.array([1.0, 0.0, 0.0])
COLUMN = np.array([0.0, np.cos(TILT), np.sin(TILT)])
"""Directions of a row and a column in DICOM's millimetres (left, posterior, superior): an oblique scan."""
SPACING_MM = (1.1, 0.9, 1.4)
ORIGIN_MM = np.array([-12.0, 7.0, 30.0])


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def write_series(folder: Path, volume: np.ndarray, gap_after: int | None = None) -> str:
    """A volume (X, Y, Z) as MR slices in a shuffled order of names; its series UID."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    folder.mkdir(exist_ok=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    normal = np.cross(ROW, COLUMN)
    for z in range(volume.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = "p1", "Test^Case", "", ""
        data.StudyID, data.StudyDate, data.StudyTime, data.AccessionNumber = "1", "20260101", "120000", ""
        data.ReferringPhysicianName, data.PositionReferenceIndicator = "", ""
        data.Modality, data.Manufacturer, data.SeriesDescription = "MR", "test", "T1"
        data.SeriesNumber, data.InstanceNumber = 3, z + 1
        data.ImageOrientationPatient = [float(x) for x in (*ROW, *COLUMN)]
        shift = z + (1 if gap_after is not None and z > gap_after else 0)
        data.ImagePositionPatient = [float(x) for x in ORIGIN_MM + normal * SPACING_MM[2] * shift]
        data.PixelSpacing, data.SliceThickness = [SPACING_MM[1], SPACING_MM[0]], SPACING_MM[2]
        data.Rows, data.Columns = volume.shape[1], volume.shape[0]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = np.ascontiguousarray(volume[:, :, z].T).astype(np.uint16).tobytes()
        data.save_as(folder / f"{(7 * z) % 1009:04d}_{series[-4:]}.dcm", enforce_file_format=True)
    return str(series)


def affine_of_series() -> np.ndarray:
    """Voxel to right, anterior, superior, by hand."""
    affine = np.eye(4)
    for axis, direction in enumerate((ROW, COLUMN, np.cross(ROW, COLUMN))):
        affine[:3, axis] = direction * SPACING_MM[axis]
    affine[:3, 3] = ORIGIN_MM
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def read_back(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, list[str], Any]:
    """The label (X, Y, Z) of a DICOM segmentation, each frame put where its position says; names; the data set."""
    import pydicom

    data = pydicom.dcmread(path)
    label, normal = np.zeros(shape, dtype=int), np.cross(ROW, COLUMN)
    for frame, where in zip(data.pixel_array, data.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(where.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        z = (position - ORIGIN_MM) @ normal / SPACING_MM[2]
        assert abs(z - round(z)) < 1e-3
        number = where.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        label[:, :, round(z)][frame.T > 0] = number
    return label, [segment.SegmentLabel for segment in data.SegmentSequence], data


@pytest.fixture(scope="module")
def checkpoint(demo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(demo_set, tmp_path_factory.mktemp("trained"), 3)


@pytest.fixture(scope="module")
def volume(demo_set: Path) -> np.ndarray:
    image = np.asarray(nib.load(sorted((demo_set / "imagesTr").iterdir())[0]).dataobj, dtype=float)
    return np.round((image - image.min()) / np.ptp(image) * 4000)


def test_segmentation_is_the_label_map_of_the_same_scan_as_nifti(
    checkpoint: Path, volume: np.ndarray, tmp_path: Path
) -> None:
    write_series(tmp_path / "patient", volume)
    result = run(
        "predict",
        "-i",
        tmp_path / "patient",
        "--dicom-seg",
        "-o",
        tmp_path / "out",
        "--checkpoint",
        checkpoint,
    )
    assert result.exit_code == 0, result.output
    nib.save(nib.Nifti1Image(volume.astype(np.float32), affine_of_series()), tmp_path / "scan.nii.gz")
    result = run(
        "predict", "-i", tmp_path / "scan.nii.gz", "-o", tmp_path / "nifti", "--checkpoint", checkpoint
    )
    assert result.exit_code == 0, result.output
    expected = np.asarray(nib.load(tmp_path / "nifti" / "scan.nii.gz").dataobj)
    found, names, data = read_back(tmp_path / "out" / "patient.seg.dcm", volume.shape)
    assert len(np.unique(expected)) > 1
    # The affine that SimpleITK works out differs in the last digits, so that voxels on a boundary may.
    assert (found == expected).mean() > 0.999
    assert data.Modality == "SEG" and data.PatientID == "p1" and len(names) == 3
    shared = data.SharedFunctionalGroupsSequence[0]
    assert [float(x) for x in shared.PixelMeasuresSequence[0].PixelSpacing] == [0.9, 1.1]
    np.testing.assert_allclose(
        [float(x) for x in shared.PlaneOrientationSequence[0].ImageOrientationPatient],
        [*ROW, *COLUMN],
        atol=1e-6,
    )


def test_faults(checkpoint: Path, volume: np.ndarray, demo_set: Path, tmp_path: Path) -> None:
    series = tmp_path / "patient"
    arguments = ("--dicom-seg", "-o", tmp_path / "out", "--checkpoint", checkpoint)
    first, second = write_series(series, volume), write_series(series, volume)
    result = run("predict", "-i", series, *arguments)
    assert "holds 2 series, choose one with --series" in str(result.exception)
    assert first in str(result.exception) and f"{second} (T1, 16 files)" in str(result.exception)
    result = run("predict", "-i", series, *arguments, "--series", "1.2.3")
    assert "holds no series 1.2.3" in str(result.exception)
    result = run("predict", "-i", demo_set / "imagesTr", *arguments)
    assert "holds no DICOM series" in str(result.exception)
    write_series(tmp_path / "gap", volume, gap_after=4)
    result = run("predict", "-i", tmp_path / "gap", *arguments)
    assert "its slices lie 1.40 to 2.80 mm apart" in str(result.exception)
    result = run(
        "predict", "-i", series, "--series", first, "-o", tmp_path / "out", "--checkpoint", checkpoint
    )
    assert "--series: belongs to --dicom-seg" in str(result.exception)
    result = run("predict", "-i", series, *arguments, "--probabilities")
    assert "--probabilities: is not offered with --dicom-seg" in str(result.exception)
    assert not (tmp_path / "out").exists()
    result = run("predict", "-i", series, *arguments, "--series", first)
    assert result.exit_code == 0, result.output
    result = run("predict", "-i", series, *arguments, "--series", first)
    assert "exists already" in str(result.exception)
    shutil.rmtree(series)
