"""``uxnet predict`` with real checkpoints: from the command line to label maps and their scores."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from search_space.errors import UserError
from uxnet_eval import cli
from uxnet_eval.architectures.architecture import find_architecture
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.dataset.msd import Dataset, read_dataset
from uxnet_eval.evaluation.folders import evaluate_folders
from uxnet_eval.networks.build import build_network
from uxnet_eval.networks.checkpoint import load_model, save_model
from uxnet_eval.preprocessing.prepared_cases import PreparedCases
from uxnet_eval.training.scoring import score_models

ROOT = Path(__file__).parents[1]


def write_checkpoint(path: Path, dataset: Dataset, seed: int = 0, architecture: str = "preset:full") -> Path:
    """A network with random weights, on a grid of other voxels than the data's."""
    config = TrainConfig.parse(
        {
            "dataset": str(dataset.folder),
            "plan": {"spacing_mm": [1.2, 1.0, 1.5], "patch_size": [16, 24, 16], "strides": [[2, 2, 2]]},
            "network": {"architecture": architecture, "base_channels": 3},
            "runtime": {"precision": "float32"},
        },
        "test",
    )
    torch.manual_seed(seed)
    found = find_architecture(architecture, config.plan.levels)
    network = build_network(
        found, config.plan, dataset.num_channels, dataset.num_classes, base_channels=3, max_channels=320
    )
    save_model(
        path,
        weights=network.state_dict(),
        architecture=found,
        base_channels=3,
        config=config,
        dataset=dataset,
        scores={},
    )
    return path


@pytest.fixture(scope="module")
def dataset(demo_set: Path) -> Dataset:
    return read_dataset(demo_set)


@pytest.fixture(scope="module")
def checkpoint(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "best.pt", dataset)


def predict(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, ["predict", *map(str, arguments)])


def test_predict_then_evaluate_gives_the_numbers_of_the_training(
    dataset: Dataset, checkpoint: Path, tmp_path: Path
) -> None:
    model = load_model(checkpoint, "cpu")
    expected = score_models([model], PreparedCases(dataset.cases[:3], dataset, model.plan), dataset, 1.0)
    chosen = [argument for case in dataset.cases[:3] for argument in ("--case", case.case_id)]
    result = predict(
        "-i", dataset.folder, "-o", tmp_path / "out", "--checkpoint", checkpoint, "--training", *chosen
    )
    assert result.exit_code == 0, result.output
    assert "3 of 3 predicted" in result.output
    found = evaluate_folders(dataset, tmp_path / "out", allow_missing=True)
    assert expected.cases["dice"].gt(0.01).any()
    pd.testing.assert_frame_equal(
        found.cases, expected.cases.sort_values("case_id", kind="stable", ignore_index=True), check_exact=True
    )


def test_broken_case_exit_code_and_second_run(dataset: Dataset, checkpoint: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for case in dataset.cases[:2]:
        (images / case.image.name).write_bytes(case.image.read_bytes())
    (images / "aa_broken.nii.gz").write_bytes(b"no gzip")
    arguments = ("-i", images, "-o", tmp_path / "out", "--checkpoint", checkpoint, "--device", "cpu")
    result = predict(*arguments)
    assert result.exit_code == 1
    assert "2 of 3 predicted, 1 failed" in result.stdout
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(
        f"uxnet: failed: aa_broken: {images / 'aa_broken.nii.gz'}: truncated or damaged gzip"
    )
    (images / "aa_broken.nii.gz").unlink()
    result = predict(*arguments)
    assert result.exit_code == 0
    assert "0 of 2 predicted, 2 finished before and kept (--overwrite predicts them anew)" in result.stdout
    result = predict(*arguments, "--overwrite")
    assert result.exit_code == 0 and "2 of 2 predicted; label maps are in" in result.stdout


def test_ensemble_with_all_options(dataset: Dataset, checkpoint: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other.pt", dataset, seed=1, architecture="preset:unet")
    image = dataset.cases[0].image
    arguments = ("-i", image, "--checkpoint", checkpoint, "--checkpoint", other, "--probabilities")
    plain = predict(*arguments, "-o", tmp_path / "plain")
    assert plain.exit_code == 0, plain.output
    options = (
        "--mirror",
        "--largest-component",
        "--overlap",
        "0.25",
        "--window-batch",
        "2",
        "--precision",
        "float32",
    )
    full = predict(*arguments, "-o", tmp_path / "full", *options)
    assert full.exit_code == 0, full.output
    values = [
        np.asarray(nib.load(tmp_path / name / "probabilities" / image.name).dataobj)
        for name in ("plain", "full")
    ]
    assert values[0].shape == (*nib.load(image).shape, dataset.num_classes)
    assert np.abs(values[0] - values[1]).max() > 0.01
    record = json.loads((tmp_path / "full" / "prediction.json").read_text())
    assert list(record["checkpoints"]) == [str(checkpoint), str(other)]
    assert record["settings"] == {
        "overlap": 0.25,
        "mirror": True,
        "precision": "32-true",
        "largest_component": True,
    }


def test_bad_arguments_are_one_line_each(dataset: Dataset, checkpoint: Path, tmp_path: Path) -> None:
    images, out = dataset.folder / "imagesTr", tmp_path / "out"
    truncated, pickled = tmp_path / "truncated.pt", tmp_path / "pickled.pt"
    truncated.write_bytes(checkpoint.read_bytes()[:2000])
    torch.save({"network": Path("an object")}, pickled)
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ((images, out, truncated), r"truncated\.pt: is truncated, damaged"),
        ((images, out, pickled), r"pickled\.pt: holds pickled objects"),
        ((images, images / "out", checkpoint), r"out: lies in the input folder"),
        ((dataset.folder, dataset.folder / "out", checkpoint), r"out: lies in the input folder"),
        ((tmp_path / "empty", out, checkpoint), r"empty: holds no images"),
        ((tmp_path / "absent", out, checkpoint), r"absent: no such file or folder"),
        ((images, out, tmp_path / "absent.pt"), r"absent\.pt: cannot be read"),
        ((images, out, checkpoint, "--overlap", "1"), r"--overlap 1: expected a share"),
        ((images, out, checkpoint, "--case", "nobody"), r"has no case nobody"),
        ((images, out, checkpoint, "--training"), r"holds no dataset\.json"),
    ):
        source, target, weights, *options = arguments
        result = predict("-i", source, "-o", target, "--checkpoint", weights, *options)
        assert isinstance(result.exception, UserError), (arguments, result.output)
        assert "\n" not in str(result.exception)
        with pytest.raises(UserError, match=message):
            raise result.exception
    assert not out.exists() and not (images / "out").exists()


def test_pickled_code_does_not_run(dataset: Dataset, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    result = predict("-i", dataset.folder, "-o", tmp_path / "out", "--checkpoint", tmp_path / "evil.pt")
    assert isinstance(result.exception, UserError)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["unet", "full"])
@pytest.mark.long
def test_whole_brain_stays_below_8_gib(brats: Path, preset: str) -> None:
    # Overlap changes the time, not the memory.
    command = [sys.executable, str(ROOT / "benchmarks" / "predict_memory.py"), str(brats)]
    command += ["--preset", preset, "--overlap", "0"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    measured = json.loads(printed)
    assert measured["shape"] == [240, 240, 155]
    assert 0.5 < measured["peak_memory_gib"] < 8
