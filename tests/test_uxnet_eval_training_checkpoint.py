"""A trained network as a file: what comes back, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search_space.errors import UserError
from uxnet_eval.architectures.architecture import find_architecture
from uxnet_eval.config.plan import Plan
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.dataset.msd import Dataset
from uxnet_eval.networks import checkpoint
from uxnet_eval.networks.build import build_network
from uxnet_eval.networks.checkpoint import load_model, save_model

PLAN = Plan(
    spacing_mm=(1, 1, 2),
    patch_size=(16, 16, 16),
    strides=((2, 2, 2),) * 3,
    batch_size=1,
    normalization="ct",
    intensity={"lower": -10.0, "upper": 200.0, "mean": 30.0, "std": 20.0},
)
DATASET = Dataset(Path("data"), "Organs", ("CT",), ("none", "liver", "spleen"), (0, 2, 255), (), (), 3)


def save(path: Path, architecture: str = "unet", deep_supervision: bool = True) -> torch.nn.Module:
    """Saves a network of random weights and returns it."""
    torch.manual_seed(0)
    config = TrainConfig(dataset="data", plan=PLAN, runtime={"precision": "float32"})
    found = find_architecture(architecture, 4)
    network = build_network(
        found, PLAN, 1, 3, base_channels=1.5, max_channels=320, deep_supervision=deep_supervision
    )
    save_model(
        path,
        weights=network.state_dict(),
        architecture=found,
        base_channels=1.5,
        config=config,
        dataset=DATASET,
        scores={"val_dice": 0.5, "epoch": 3},
    )
    return network.eval()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save(tmp_path / "best.pt")
    return tmp_path / "best.pt"


@pytest.fixture
def change(path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """Changes what the file holds."""

    def call(edit: Callable[[dict[str, Any]], None]) -> Path:
        values = torch.load(path, weights_only=True)
        edit(values)
        torch.save(values, path)
        return path

    return call


@pytest.mark.parametrize(
    ("architecture", "supervised"), [("unet", True), ("dynunet", True), ("dints", False)]
)
def test_what_comes_back(tmp_path: Path, architecture: str, supervised: bool) -> None:
    network = save(tmp_path / "model.pt", architecture, supervised)
    model = load_model(tmp_path / "model.pt", device="cpu")
    assert model.plan == PLAN and model.base_channels == 1.5
    assert model.architecture == find_architecture(architecture, 4)
    assert model.dataset.class_names == DATASET.class_names
    assert model.dataset.label_values == (0, 2, 255) and model.dataset.channel_names == ("CT",)
    assert model.scores == {"val_dice": 0.5, "epoch": 3.0}
    assert model.precision == "32-true" and model.overlap == 0.5
    assert not any("head" in name and "coarse" in name for name in model.network.state_dict())
    image = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(model.network(image), network(image))


def test_file_is_readable_without_running_code(path: Path) -> None:
    assert set(torch.load(path, weights_only=True)) >= {"weights", "architecture", "plan", "config"}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"best\.pt: is truncated, damaged or no checkpoint"):
        load_model(path, device="cpu")


def test_absent_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(UserError, match=rf"^{path}: cannot be read"):
            load_model(path, device="cpu")


class Mischief:
    """Runs code when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    path, made = tmp_path / "model.pt", tmp_path / "made"
    torch.save({"format": "uxnet-model", "weights": Mischief(made)}, path)
    with pytest.raises(UserError, match=r"model\.pt: holds pickled objects"):
        load_model(path, device="cpu")
    assert not made.exists()


def set_value(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(values: dict[str, Any]) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return edit


def drop_a_weight(values: dict[str, Any]) -> None:
    values["weights"].pop(next(iter(values["weights"])))


def other_genotype(values: dict[str, Any]) -> None:
    values["architecture"] = find_architecture("full", 4).to_dict()


def set_weight(value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(values: dict[str, Any]) -> None:
        values["weights"][next(iter(values["weights"]))] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_value("version", value=2), r"format version 2, this program reads 1; update the program"),
        (set_value("version", value=0), r"format version 0, this program reads 1; train it again"),
        (set_value("format", value="x"), r"holds no trained network; make one with uxnet train"),
        (other_genotype, r"weights do not fit its architecture 'full' \(.* is missing and \d+ more\)"),
        (drop_a_weight, r"weights do not fit its architecture 'unet' \(.* is missing\)"),
        (set_value("base_channels", value=3.0), r"has shape .*, expected .* more\)"),
        (set_value("weights", value=[1]), r"holds no weights"),
        (lambda values: values.pop("plan"), r"lacks plan"),
        (set_value("plan", "patch_size", value=[10, 16, 16]), r"patch_size \[10, 16, 16\]: axis 0"),
        (set_value("architecture", value={"name": "nnunet", "genotype": None}), r"'nnunet' is no baseline"),
        (set_value("architecture", "genotype", "edges", value=["N0.0-N0.9"]), r"is not an edge of a grid"),
        (set_value("dataset", value=3), r"dataset: expected keys and values, found int"),
        (set_value("config", value=3), r"its description is damaged"),
        (
            set_value("dataset", "label_values", value=[0]),
            r"label_values are \[0\], expected \d ascending numbers",
        ),
        (
            set_value("dataset", "label_values", value=[-1, 0, 1, 2]),
            r"label_values are \[-1, 0, 1, 2\], expected",
        ),
        (
            set_value("dataset", "label_values", value=[0, 1.5, 2, 3]),
            r"label_values\.1: Input should be a valid int",
        ),
        (set_value("config", "train", "overlap", value=5), r"overlap: Input should be less than 1, found 5"),
        (
            set_value("config", "runtime", "precision", value="foo"),
            r"precision: Input should be .*found 'foo'",
        ),
        (set_value("base_channels", value=1e8), r"base_channels: Input should be less than"),
        (set_weight("foo"), r"weight .* is no array of real numbers"),
        (set_weight(None), r"weight .* is no array of real numbers"),
        (set_weight(torch.zeros(3).to_sparse()), r"weight .* is no array of real numbers"),
        (set_weight(torch.tensor([torch.nan])), r"weight .* is not finite"),
    ],
)
def test_what_does_not_fit(change: Callable[..., Path], edit: Callable[[dict[str, Any]], None], message: str):
    path = change(edit)
    with pytest.raises(UserError, match=r"best\.pt: .*" + message):
        load_model(path, device="cpu")


def test_state_of_a_running_training_is_told_apart(tmp_path: Path) -> None:
    torch.save({"pytorch-lightning_version": "2.6", "state_dict": {}}, tmp_path / "checkpoint.ckpt")
    with pytest.raises(UserError, match=r"checkpoint\.ckpt: .*give best\.pt or last\.pt beside it"):
        load_model(tmp_path / "checkpoint.ckpt", device="cpu")


def test_full_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fill_up(values: Any, stream: Any) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", fill_up)
    with pytest.raises(UserError, match=r"best\.pt: cannot be written \(.*No space left on device"):
        save(path)
    assert path.read_bytes() == before
    assert [other.name for other in path.parent.iterdir()] == ["best.pt"]
