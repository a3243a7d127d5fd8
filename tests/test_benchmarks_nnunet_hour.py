"""nnU-Net, trained for a given time; needs nnunetv2 (``make test-exports``)."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import pytest

from uxnet_eval.dataset.folds import folds_of
from uxnet_eval.dataset.msd import read_dataset


@pytest.mark.exports
@pytest.mark.slow
@pytest.mark.skipif(find_spec("nnunetv2") is None, reason="nnunetv2 is missing: make test-exports")
def test_it_trains_and_scores_the_left_out_fold(demo_set: Path, tmp_path: Path) -> None:
    folder, result = tmp_path / "nnunet", tmp_path / "hour.json"
    words = [str(demo_set), "--folder", str(folder), "--minutes", "0.3", "--fold", "1", "-o", str(result)]
    command = [sys.executable, "-m", "benchmarks.nnunet_hour", *words]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    values = json.loads(result.read_text())
    dataset = read_dataset(demo_set)
    fold = folds_of(dataset, 5, 0)[1]
    predicted = next((folder / "results").glob("*/*/fold_0")) / "validation"
    assert {path.name.removesuffix(".nii.gz") for path in predicted.glob("*.nii.gz")} == set(fold.held_out)
    assert all(nib.load(path).ndim == 3 for path in predicted.glob("*.nii.gz"))
    assert values["steps"] >= 10 and values["num_cases"] == len(fold.held_out)
    assert set(values["dice"]) == {*dataset.class_names[1:], "mean"}
    assert values["parameters"] > 0 and values["multiply_adds"] > 0
    again = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert again.returncode == 2 and "is not empty" in again.stderr
