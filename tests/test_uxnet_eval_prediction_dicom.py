"""A DICOM series made from a scan, segmented, and read back by pydicom and by ITK, which did not write it."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_series import OBLIQUE, Geometry, read_back, write_series
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


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


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
    nib.save(nib.Nifti1Image(volume.astype(np.float32), OBLIQUE.affine), tmp_path / "scan.nii.gz")
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
        [*OBLIQUE.row, *OBLIQUE.column],
        atol=1e-6,
    )


@pytest.mark.slow
def test_series_of_a_hippocampus(hippocampus: Path, tmp_path: Path) -> None:
    """The label map, voxel for voxel, and where its voxels lie in the room."""
    few = tmp_path / "few"  # a training scores its whole fold
    few.mkdir()
    described = json.loads((hippocampus / "dataset.json").read_text())
    described |= {"training": described["training"][:5], "numTraining": 5}
    (few / "dataset.json").write_text(json.dumps(described))
    for part in ("imagesTr", "labelsTr"):
        (few / part).symlink_to(hippocampus / part)
    checkpoint = train(few, tmp_path, 3, steps=30)
    scan = nib.load(hippocampus / described["training"][1]["image"])
    volume = np.round(np.asarray(scan.dataobj, dtype=float))  # DICOM holds integers
    nib.save(nib.Nifti1Image(volume.astype(np.float32), scan.affine), tmp_path / "scan.nii.gz")
    geometry = Geometry.of_affine(scan.affine)
    write_series(tmp_path / "patient", volume, geometry)
    common = ("--checkpoint", checkpoint)
    result = run("predict", "-i", tmp_path / "patient", "--dicom-seg", "-o", tmp_path / "out", *common)
    assert result.exit_code == 0, result.output
    result = run("predict", "-i", tmp_path / "scan.nii.gz", "-o", tmp_path / "nifti", *common)
    assert result.exit_code == 0, result.output
    expected = np.asarray(nib.load(tmp_path / "nifti" / "scan.nii.gz").dataobj)
    path = tmp_path / "out" / "patient.seg.dcm"
    found, names, _ = read_back(path, volume.shape, geometry)
    assert set(np.unique(expected)) == {0, 1, 2} and len(names) == 2
    assert np.array_equal(found, expected)
    assert_itk_sees(path, expected, scan.affine)


def assert_itk_sees(path: Path, expected: np.ndarray, affine: np.ndarray) -> None:
    """Spacing, directions, and where the segments lie in the plane of a slice.

    ITK stacks the frames of all segments; the place of a slice is what ``read_back`` looks at.
    """
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    np.testing.assert_allclose(image.GetSpacing(), spacing_mm, rtol=1e-6)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)) * spacing_mm, lps[:3, :3], atol=1e-6)
    np.testing.assert_allclose(image.GetOrigin()[:2], lps[:2, 3], atol=1e-6)
    frames = SimpleITK.GetArrayFromImage(image)  # (frame, row, column): those of the first segment come first
    segments = np.split(frames, [int(sum((expected == 1).any(axis=(0, 1))))])
    for number, stack in enumerate(segments, start=1):
        columns_rows = np.argwhere(expected == number)[:, :2]
        np.testing.assert_allclose(np.argwhere(stack)[:, :0:-1].mean(0), columns_rows.mean(0), rtol=1e-6)
        assert len(columns_rows) == np.count_nonzero(stack)


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
