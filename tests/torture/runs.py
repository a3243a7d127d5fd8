"""The tiny runs that are tortured, and what must be the same after all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from search_space.checksum import CHECKSUM
from search_space.reading import read_json
from uxnet_eval.dataset.demo_data import make_demo_data
from uxnet_eval.runs.archive import check_archive

TIMES = {"minutes", "search_minutes", "selection_minutes", "spent_s", "peak_memory_gib", CHECKSUM, "versions"}
"""Keys of values that differ from run to run."""
PLACES = {"dirpath", "best_model_path", "last_model_path", "kth_best_model_path", "best_k_models"}
"""Keys of Lightning's state that hold where the run lay before it was copied."""
PLAN = {
    "spacing_mm": [1.0, 1.0, 1.0],
    "patch_size": [8, 8, 8],
    "strides": [[2, 2, 2], [2, 2, 2]],
    "batch_size": 1,
}
RUNTIME = {"num_threads": 1, "precision": "float32", "num_workers": 0, "device": "cpu"}
TRAIN = {"epochs": 3, "steps_per_epoch": 2, "validate_every": 2, "validation_cases": 1, "num_folds": 2}
SEARCH = {"epochs": 3, "steps_per_epoch": 2, "warmup_epochs": 1, "validation_cases": 1, "validate_every": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "train": {"network": {"base_channels": 2}, "train": TRAIN},
    "search": {"space": {"base_channels": 2}, "search": SEARCH},
    "contest": {
        "space": {"base_channels": 4, "width_choices": [0.5, 1.0], "normal_candidates": ["conv3", "2xconv3"]},
        "search": {"strategy": "single-path", "epochs": 1, "steps_per_epoch": 1},
        "train": {"epochs": 2, "steps_per_epoch": 1, "validation_cases": 1},
        "contest": {"contender": "random", "proposals": 2, "selection_epochs": 1},
    },
}


@dataclass(frozen=True)
class Subject:
    """One run: the command, and the current folder for it.

    Attributes:
        command: train, search or contest.
        place: holds the data and ``COMMAND.yml``.
    """

    command: str
    place: Path

    def arguments(self, output: Path) -> list[str]:
        return [self.command, "--config", f"{self.command}.yml", "--output", str(output)]


def make_place(folder: Path) -> Path:
    """A folder with a small data set and a configuration for each command."""
    make_demo_data(folder / "data", num_cases=6, size_voxels=(12, 12, 10), seed=1)
    for command, sections in CONFIGS.items():
        values = {"dataset": "data", "plan": PLAN, **sections, "runtime": RUNTIME}
        (folder / f"{command}.yml").write_text(yaml.safe_dump(values))
    return folder


def fingerprint(output: Path) -> dict[str, str]:
    """A hash of every file of a finished run, without times; by relative name."""
    return {
        str(path.relative_to(output)): hashlib.sha256(repr(_content(path)).encode()).hexdigest()[:12]
        for path in files(output)
    }


def files(output: Path) -> list[Path]:
    """The files of a run, but for those of the moment: events, the lock, the report, temporary ones."""
    return sorted(
        path
        for path in output.rglob("*")
        if path.is_file()
        and "tensorboard" not in path.parts
        and path.name not in (".lock", "report.html")
        and ".part" not in path.suffixes
    )


def half_written(output: Path) -> list[str]:
    """The files that are not whole, though no name says that they are temporary."""
    return list(_half_written(output))


def _half_written(output: Path) -> Iterator[str]:
    for path in files(output):
        try:
            if path.suffix == ".json":
                read_json(path)
            elif path.suffix in (".ckpt", ".pt"):
                check_archive(path)
            elif path.suffix == ".yml" and not path.read_text().endswith("\n"):
                raise ValueError("cut short")
            elif path.stat().st_size == 0:
                raise ValueError("empty")
        except ValueError as error:
            yield f"{path.relative_to(output)}: {error}"


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _plain(json.loads(path.read_text()), path.parents)
    if path.suffix in (".ckpt", ".pt"):
        return _plain(torch.load(path, weights_only=True, map_location="cpu"), path.parents)
    if path.suffix == ".yml":
        return _plain(yaml.safe_load(path.read_text()), path.parents)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(value: Any, folders: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        items = sorted(((str(key), inner) for key, inner in value.items()), key=lambda pair: pair[0])
        return [(key, _plain(inner, folders)) for key, inner in items if key not in TIMES | PLACES]
    if isinstance(value, (list, tuple)):
        return [_plain(inner, folders) for inner in value]
    if isinstance(value, str):  # the folder's own name
        for folder in folders:
            if str(folder) in value and len(folder.parts) > 2:
                return value.replace(str(folder), "HERE")
    return value
