"""Small trained networks, a volume's and a picture's."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from uxnet_eval import cli
from uxnet_eval.config.training import TrainConfig

PLANS = {
    3: {"spacing_mm": [1.2, 1.0, 1.5], "patch_size": [16, 24, 16], "strides": [[2, 2, 2]]},
    2: {"spatial_dims": 2, "spacing_mm": [1.1, 1.0], "patch_size": [16, 24], "strides": [[2, 2], [2, 2]]},
}


def train(dataset: Path, folder: Path, dims: int, steps: int = 3) -> Path:
    """The checkpoint of a network after a few steps, on another grid than the data's."""
    values = {
        "dataset": str(dataset),
        "plan": PLANS[dims],
        "network": {"architecture": "preset:full", "base_channels": 3},
        "train": {"epochs": 1, "steps_per_epoch": steps, "validation_cases": 1},
        "runtime": {"precision": "float32", "device": "cpu"},
    }
    path = folder / f"trained{dims}.train.run.yml"
    path.write_text(TrainConfig.parse(values, "test").to_yaml())
    output = folder / f"trained{dims}"
    result = CliRunner().invoke(cli.app, ["train", "--config", str(path), "--output", str(output)])
    assert result.exit_code == 0, result.output
    return output / "best.pt"
