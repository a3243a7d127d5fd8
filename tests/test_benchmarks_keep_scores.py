"""What is kept of trainings is enough for a comparison, and names no folder of this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from finished_trainings import made_up_training

from benchmarks.keep_scores import keep
from search_space import UserError, presets
from uxnet_eval.comparison.trainings import find_trainings

DICE = {"case_1": (0.9, 0.8), "case_2": (0.7, 0.6)}


def test_the_copies_compare_like_the_trainings(tmp_path: Path) -> None:
    place = tmp_path / "trainings"
    genotype = presets.get("unet", 3)
    architecture = str(place / "found.json")
    made_up_training(
        place / "a", architecture, DICE, label="found", genotype=genotype, dataset=str(tmp_path / "Toy")
    )
    made_up_training(place / "b", "preset:unet", DICE, seed=1, dataset=str(tmp_path / "Toy"))
    kept = tmp_path / "kept"
    for name in ("a", "b"):
        command = [sys.executable, "-m", "benchmarks.keep_scores", str(place / name), "-o", str(kept / name)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
    found, before = find_trainings([str(kept)]), find_trainings([str(place)])
    assert not found.notes
    for copy, training in zip(found.finished, before.finished, strict=True):
        assert copy.cases.equals(training.cases)
        assert {**copy.result, "architecture": training.architecture} == training.result
        assert copy.label == training.label
    assert sorted(path.name for path in (kept / "a").iterdir()) == [
        "cases.csv",
        "genotype.json",
        "result.json",
        "run.yml",
    ]
    for path in kept.rglob("*.*"):
        assert not path.is_file() or str(tmp_path) not in path.read_text()


def test_an_unfinished_training_is_refused(tmp_path: Path) -> None:
    made_up_training(tmp_path / "a", "preset:unet", DICE, finished=False)
    with pytest.raises(UserError, match=r"holds no result\.json; finish the training first"):
        keep(tmp_path / "a", tmp_path / "kept")
