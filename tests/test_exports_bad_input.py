"""What cannot leave this project, or cannot be predicted: one line, exit code 1, nothing written."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_series import write_series
from nnunet_plans import configuration, write_plans
from test_uxnet_eval_prediction_command import write_checkpoint

from search_space import Genotype, presets
from uxnet_eval import cli
from uxnet_eval.dataset.msd import read_dataset

NEEDS_DICOM = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("pydicom", "highdicom")),
    reason="pydicom or highdicom is missing: make test-exports",
)


@pytest.fixture(scope="module")
def trained(demo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one channel, and ``model.pt2`` with its description beside it."""
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("trained") / "best.pt", read_dataset(demo_set))
    run = Runner(checkpoint.parent)
    run.argv("export", checkpoint, "--format", "torch-export", "-o", checkpoint.with_name("model.pt2"))
    cli.app(run.words, standalone_mode=False)
    return checkpoint


class Runner:
    """The command line, in a folder that is looked at before and after."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.words: list[str] = []

    def argv(self, *words: object) -> None:
        self.words = [str(word) for word in words]

    def content(self) -> dict[str, bytes]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}

    def folders(self) -> set[Path]:
        return {path for path in self.folder.rglob("*") if path.is_dir()}


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs ``uxnet``, which must refuse: gives its one line."""

    def run(*words: object) -> str:
        monkeypatch.setattr(cli, "_report_to_stderr", lambda: None)  # it would stay for other tests
        monkeypatch.setattr("sys.argv", ["uxnet", *map(str, words)])
        runner = Runner(tmp_path)
        before = runner.content(), runner.folders()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 1
        assert (runner.content(), runner.folders()) == before  # nothing half-written, no empty folder
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert line.startswith("uxnet: error: ")
        return line

    return run


def genotype(folder: Path, levels: int, **provenance: object) -> Path:
    unet = presets.get("unet", levels)
    path = folder / "genotype.json"
    Genotype.from_choices(levels, unet.edges, unet.operations, provenance).save(path)
    return path


def to_nnunet(source: Path, plans: Path) -> list[object]:
    return [
        "export",
        source,
        "--format",
        "nnunet",
        "--plans",
        plans,
        "-o",
        plans.with_name("uxnetPlans.json"),
    ]


def test_plans_of_another_number_of_levels(refused, tmp_path: Path) -> None:
    plans = write_plans(tmp_path)
    line = refused(*to_nnunet(genotype(tmp_path, levels=3), plans))
    assert "has 4 levels, the genotype 3; search on these plans: uxnet plan DATA --like" in line


def test_two_dimensional_genotype_for_3d_fullres(refused, tmp_path: Path) -> None:
    line = refused(*to_nnunet(genotype(tmp_path, levels=4, spatial_dims=2), write_plans(tmp_path)))
    assert "3d_fullres is 3-D, the genotype was searched in 2-D" in line


def test_cascade(refused, tmp_path: Path) -> None:
    low = {**configuration(), "next_stage": "3d_cascade_fullres"}
    plans = write_plans(tmp_path, configurations={"3d_lowres": low})
    line = refused(*to_nnunet(genotype(tmp_path, levels=4), plans), "--configuration", "3d_lowres")
    assert "is part of a cascade (next_stage: 3d_cascade_fullres)" in line


def test_data_set_with_regions(refused, tmp_path: Path) -> None:
    plans = write_plans(tmp_path, labels={"background": 0, "whole": [1, 2]})
    line = refused(*to_nnunet(genotype(tmp_path, levels=4), plans))
    assert "trains on regions (whole)" in line


@pytest.mark.parametrize("format", ["nnunet", "monai-bundle", "onnx", "torch-export"])
def test_checkpoint_without_plan(refused, trained: Path, tmp_path: Path, format: str) -> None:
    values = torch.load(trained, weights_only=True)
    del values["plan"]
    source = tmp_path / "without.pt"
    torch.save(values, source)
    if format == "nnunet":
        words = to_nnunet(source, write_plans(tmp_path))
    else:
        name = {"monai-bundle": "bundle", "onnx": "model.onnx", "torch-export": "model.pt2"}[format]
        words = ["export", source, "--format", format, "-o", tmp_path / name]
    assert "without.pt: lacks plan; train it again" in refused(*words)


def test_bundle_folder_that_is_not_empty(refused, trained: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "mine.txt").write_text("mine")
    line = refused("export", trained, "--format", "monai-bundle", "-o", bundle)
    assert "exists and is not empty" in line


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_exported_network_without_its_json(
    refused, trained: Path, demo_set: Path, tmp_path: Path, name: str
) -> None:
    shutil.copy(trained.with_name("model.pt2"), tmp_path / name)
    words = ("predict", "-i", demo_set / "imagesTr", "-o", tmp_path / "out", "--checkpoint", tmp_path / name)
    line = refused(*words)
    assert f"model.json: cannot be read (No such file or directory), but {name} needs it" in line


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_json_of_another_network(refused, trained: Path, demo_set: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(trained.with_name("model.json"), tmp_path / "model.json")
    (tmp_path / name).write_bytes(trained.with_name("model.pt2").read_bytes() + b"x")
    words = ("predict", "-i", demo_set / "imagesTr", "-o", tmp_path / "out", "--checkpoint", tmp_path / name)
    assert f"is of another network than {name} (their SHA-256 differ)" in refused(*words)


@NEEDS_DICOM
@pytest.mark.exports
def test_dicom_folder_with_two_series(refused, trained: Path, tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 100, (24, 24, 16))
    series = [write_series(tmp_path / "patient", volume) for _ in range(2)]
    line = refused(
        "predict", "-i", tmp_path / "patient", "--dicom-seg", "-o", tmp_path / "out", "--checkpoint", trained
    )
    assert "holds 2 series, choose one with --series" in line
    assert all(f"{uid} (T1, 16 files)" in line for uid in series)


def test_scan_with_the_wrong_number_of_channels(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several scans: it is named in one line, and the others are predicted."""
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for name, channels in (("good", ()), ("two", (2,))):
        values = rng.normal(size=(24, 24, 16, *channels)).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.eye(4)), images / f"{name}.nii.gz")
    monkeypatch.setattr(cli, "_report_to_stderr", lambda: None)
    words = ["uxnet", "predict", "-i", str(images), "-o", str(tmp_path / "out"), "--checkpoint", str(trained)]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("uxnet: "))
    assert line.startswith("uxnet: failed: two: ") and "two.nii.gz: found a 4-D array" in line
    assert "expected a 3-D one, 1 channel" in line
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.nii.gz", "prediction.json"]
    assert json.loads((tmp_path / "out" / "prediction.json").read_text())["finished"] == ["good"]


@NEEDS_DICOM
@pytest.mark.exports
def test_dicom_series_for_a_network_of_two_channels(refused, demo_set_2d: Path, tmp_path: Path) -> None:
    from trained_networks import train

    checkpoint = train(demo_set_2d, tmp_path, 2)
    write_series(tmp_path / "patient", np.zeros((24, 24, 16)))
    line = refused(
        "predict",
        "-i",
        tmp_path / "patient",
        "--dicom-seg",
        "-o",
        tmp_path / "out",
        "--checkpoint",
        checkpoint,
    )
    assert "a DICOM series is a volume of 1 channel, but the checkpoint is for 2-D images of 2" in line
