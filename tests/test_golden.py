"""Folders that version 0.2.0 wrote still open, and the same seeds still give the same numbers.

``tests/golden`` holds what a tiny search, a finished and a stopped training, and a comparison of version 0.2.0 left,
with paths shortened to their last name; the stopped training asks for 8 epochs, the original for 40. ``hashes.json`` holds what the same seeds gave on the machine that is described there;
floating-point sums differ between processors, so those tests skip on any other machine.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from search_space import Genotype
from uxnet_eval import cli
from uxnet_eval.comparison.table import compare
from uxnet_eval.comparison.trainings import find_trainings
from uxnet_eval.comparison.writing import to_dict
from uxnet_eval.dataset.demo_data import make_demo_data
from uxnet_eval.networks.checkpoint import load_model
from uxnet_eval.runs.search_record import SearchRecord
from uxnet_eval.search.run import run_search
from uxnet_eval.training.run import run_training

GOLDEN = Path(__file__).parent / "golden"
HASHES = json.loads((GOLDEN / "hashes.json").read_text())


def this_machine() -> dict[str, str]:
    """What decides about the last digits of a sum."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines()[:30] if info.exists() else []
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return {
        "torch": torch.__version__,
        "processor": " ".join(values.get(key, "?") for key in ("vendor_id", "cpu family", "model")),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


@pytest.fixture
def same_machine() -> None:
    if this_machine() != HASHES["machine"]:
        pytest.skip(f"the golden numbers are of {HASHES['machine']}, this machine is {this_machine()}")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated data that the golden runs were made with."""
    return make_demo_data(tmp_path_factory.mktemp("golden") / "data", num_cases=8, seed=0)


@pytest.fixture
def place(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the data and the genotype of the golden runs, and copies of their folders; the current one."""
    for folder in ("search", "training", "stopped"):
        shutil.copytree(GOLDEN / folder, tmp_path / folder)
    shutil.copy(GOLDEN / "training" / "genotype.json", tmp_path)
    (tmp_path / "data").symlink_to(scans)
    monkeypatch.chdir(tmp_path)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the golden runs
    yield tmp_path
    torch.set_num_threads(num_threads)


def uxnet(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def digest(values: Any) -> str:
    """A hash of all tensors in nested dictionaries and lists."""

    def tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, dict):
            for key in value:
                yield from tensors(value[key], f"{name}/{key}")
        elif isinstance(value, (list, tuple)):
            for index, inner in enumerate(value):
                yield from tensors(inner, f"{name}/{index}")

    hashed = hashlib.sha256()
    for _, tensor in sorted(tensors(values), key=lambda pair: pair[0]):
        hashed.update(str(tensor.dtype).encode())
        hashed.update(tensor.contiguous().float().numpy().tobytes())
    return hashed.hexdigest()[:16]


def test_old_search_opens_and_exports(place: Path) -> None:
    record = SearchRecord.load(place / "search")
    assert [entry["epoch"] for entry in record.history] == [1, 3, 5]
    assert record.genotype() == Genotype.load(place / "search" / "genotype.json")
    uxnet("export", "search", "-o", "exported.json")
    assert Genotype.load("exported.json") == Genotype.load(place / "search" / "genotype.json")
    uxnet("export", "search", "-o", "half.json", "--prune-threshold", "0.5")
    assert Genotype.load("half.json") == record.genotype(0.5)


@pytest.mark.parametrize(
    ("folder", "shown"), [("search", "N0.0-N1.0"), ("training", "medium organ"), ("stopped", "medium organ")]
)
def test_old_folders_can_be_reported(place: Path, folder: str, shown: str) -> None:
    uxnet("report", folder, "-o", "report.html")
    assert shown in (place / "report.html").read_text()


def test_old_checkpoint_predicts(place: Path) -> None:
    model = load_model(place / "training" / "best.pt", device="cpu")
    assert sum(weight.numel() for weight in model.network.parameters()) == 406
    assert model.scores["epoch"] == 2
    uxnet("predict", "-i", "data", "--training", "-o", "predicted", "--checkpoint", "training/best.pt")
    labels = [nib.load(path) for path in sorted((place / "predicted").glob("*.nii.gz"))]
    assert [label.shape for label in labels] == [(40, 40, 32)] * 8
    assert all(set(np.unique(label.dataobj)) <= {0, 1, 2, 3} for label in labels)


def test_old_trainings_compare_as_they_did(place: Path) -> None:
    comparison = to_dict(compare(find_trainings(["training"])), place / "comparison")
    golden = json.loads((GOLDEN / "comparison" / "comparison.json").read_text())
    [row] = comparison["rows"]
    [same] = [entry for entry in golden["rows"] if entry["network"] == "genotype"]
    for name in ("network", "architectures", "num_cases", "dice", "classes", "parameters", "multiply_adds"):
        assert row[name] == same[name]
    assert comparison.keys() >= golden.keys()  # version 2 of the file adds keys and keeps those of version 1


def test_old_stopped_training_continues(place: Path) -> None:
    shutil.copy(place / "stopped" / "run.yml", place / "train.run.yml")
    run_training(place / "train.run.yml", output=place / "stopped")
    history = json.loads((place / "stopped" / "training.json").read_text())["history"]
    before = torch.load(GOLDEN / "stopped" / "checkpoint.ckpt", weights_only=True)["callbacks"][
        "TrainReporter"
    ]
    assert history[: len(before["history"])] == before["history"] and len(before["history"]) >= 1
    assert [entry["epoch"] for entry in history] == [2, 4, 6, 8]
    assert json.loads((place / "stopped" / "result.json").read_text())["num_epochs"] == 8


@pytest.mark.slow
@pytest.mark.usefixtures("same_machine")
def test_the_same_search(place: Path) -> None:
    shutil.copy(place / "search" / "run.yml", place / "search.run.yml")
    folder = run_search(place / "search.run.yml", output=place / "again")
    record = SearchRecord.load(folder)
    assert record.gates == HASHES["search/gates"] and record.alphas == HASHES["search/alphas"]
    state = torch.load(folder / "checkpoint.ckpt", weights_only=True)
    assert digest(state["state_dict"]) == HASHES["search/weights"]
    assert digest(state["optimizer_states"]) == HASHES["search/optimizers"]


@pytest.mark.slow
@pytest.mark.usefixtures("same_machine")
def test_the_same_training_and_prediction(place: Path) -> None:
    shutil.copy(place / "training" / "run.yml", place / "train.run.yml")
    folder = run_training(place / "train.run.yml", output=place / "again")
    state = torch.load(folder / "checkpoint.ckpt", weights_only=True)
    assert digest(state["state_dict"]) == HASHES["train-genotype/weights"]
    assert digest(state["optimizer_states"]) == HASHES["train-genotype/optimizers"]
    assert digest(torch.load(folder / "best.pt", weights_only=True)) == HASHES["train-genotype/best"]
    golden = json.loads((GOLDEN / "training" / "result.json").read_text())
    assert json.loads((folder / "result.json").read_text())["default"] == golden["default"]
    uxnet("predict", "-i", "data", "--training", "-o", "predicted", "--checkpoint", "again/best.pt")
    for path in sorted((place / "predicted").glob("*.nii.gz")):
        found = hashlib.sha256(np.asarray(nib.load(path).dataobj).tobytes()).hexdigest()[:16]
        assert found == HASHES[f"predicted/{path.name}"]
