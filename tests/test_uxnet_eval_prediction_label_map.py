"""Label maps as files: their values, their geometry, and what is left when writing one fails."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from stand_in_model import StandInModel, raw_plan, threshold_network

from uxnet_eval.prediction import label_map
from uxnet_eval.prediction.folder_prediction import predict_folder
from uxnet_eval.prediction.label_map import OutputError, write_label_map
from uxnet_eval.prediction.scans import find_scans
from uxnet_eval.prediction.windows import WindowSettings

MODEL = StandInModel(threshold_network(500), raw_plan((1, 1, 1), (8, 8, 8)))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def stored(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_label_values_beyond_a_byte(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((9, 7, 6), np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    label = np.zeros((9, 7, 6), dtype=np.uint8)
    label[0] = 1
    write_label_map(tmp_path / "l.nii.gz", label, np.eye(4), (0, 1000), tmp_path / "a.nii.gz")
    assert stored(tmp_path / "l.nii.gz").max() == 1000


def _oblique() -> np.ndarray:
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.4, 0.1, -0.2) @ np.diag([-0.7, 0.8, 3.1]))
    affine[:3, 3] = (12.5, -7.25, 100)
    return affine


def _volume(kind: str) -> nib.Nifti1Image:
    data = np.random.default_rng(0).uniform(0, 1000, (9, 7, 6)).astype(np.float32)
    if kind == "NIfTI-2":
        return nib.Nifti2Image(data, _oblique())
    if kind == "no codes":
        volume = nib.Nifti1Image(data, None)
        volume.header["pixdim"][1:4] = (0.7, 0.8, 3.1)
        return volume
    volume = nib.Nifti1Image(data, _oblique())
    volume.header.set_xyzt_units("micron" if kind == "micrometres" else "mm", "sec")
    if kind == "qform alone":
        volume.set_qform(_oblique(), code=1)
        volume.set_sform(None, code=0)
    else:
        volume.set_sform(_oblique(), code=4)
        volume.set_qform(_oblique() @ np.diag([1, 1, 1, 1]), code=2)
    return volume


@pytest.mark.parametrize("kind", ["sform and qform", "qform alone", "no codes", "NIfTI-2", "micrometres"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_geometry_of_the_header_is_the_images(tmp_path: Path, kind: str, suffix: str) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / f"a{suffix}"
    nib.save(_volume(kind), path)
    (tmp_path / "weights").touch()
    model = replace(MODEL, plan=raw_plan((0.8, 0.8, 2), (8, 8, 8)))
    predict_folder(
        find_scans(path, ["MRI"], 3), tmp_path / "out", {tmp_path / "weights": model}, WindowSettings()
    )
    image, label = nib.load(path), nib.load(tmp_path / "out" / "a.nii.gz")
    assert type(label) is type(image) and label.shape == image.shape
    np.testing.assert_allclose(label.affine, image.affine, atol=1e-6)
    for field in ("qform_code", "sform_code", "srow_x", "quatern_b", "qoffset_z", "xyzt_units"):
        np.testing.assert_array_equal(label.header[field], image.header[field], field)
    np.testing.assert_array_equal(label.header.get_zooms(), image.header.get_zooms())


def test_a_file_that_cannot_grow_is_removed(tmp_path: Path) -> None:
    # The operating system itself refuses to write more than 20 kB, in the middle of the compressed stream.
    label = np.random.default_rng(0).integers(0, 2, (60, 60, 60), dtype=np.uint8)
    image = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(label, np.eye(4)), image)
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"l\.nii\.gz: the disk is full \(File too large\)"):
            write_label_map(tmp_path / "l.nii.gz", label, np.eye(4), (0, 1), image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == ["a.nii"]
    write_label_map(tmp_path / "l.nii.gz", label, np.eye(4), (0, 1), image)
    np.testing.assert_array_equal(stored(tmp_path / "l.nii.gz"), label)


def test_a_kill_leaves_no_half_label_map(tmp_path: Path) -> None:
    # A process that is killed while it writes leaves a hidden file, which the next one removes.
    image, target = tmp_path / "a.nii", tmp_path / "l.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), image)
    script = (
        "import pathlib, sys, time\nfrom uxnet_eval.prediction.label_map import replacing_output\n"
        f"with replacing_output(pathlib.Path({str(target)!r})) as temporary:\n"
        "    temporary.write_bytes(b'half'); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[1]) as process:
        deadline_s = time.monotonic() + 60
        while not list(tmp_path.glob(".l.*.part.nii.gz")) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        process.kill()
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["a.nii"]
    write_label_map(target, np.zeros((2, 2, 2), np.uint8), np.eye(4), (0, 1), image)
    assert names(tmp_path) == ["a.nii", "l.nii.gz"]


def test_temporary_files_of_other_cases_stay(tmp_path: Path) -> None:
    for name in (".a.b.0123abcd.part.nii.gz", ".ab.0123abcd.part.nii.gz", ".[a].0123abcd.part.nii.gz"):
        (tmp_path / name).touch()
    for name in ("[a].nii.gz", "a.nii.gz"):
        with label_map.replacing_output(tmp_path / name) as temporary:
            temporary.touch()
    assert names(tmp_path) == [
        ".a.b.0123abcd.part.nii.gz",
        ".ab.0123abcd.part.nii.gz",
        "[a].nii.gz",
        "a.nii.gz",
    ]
