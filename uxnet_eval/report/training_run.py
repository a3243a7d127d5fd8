"""A training as the report shows it: its learning curves and its result, from the files in its folder."""

from __future__ import annotations

import base64
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from search_space.errors import UserError
from search_space.genotype import Genotype

from ..drawing import draw, save
from ..run_folder import CONFIG_NAME, RESULT_NAME

CURVES_NAME, GENOTYPE_NAME = "training.json", "genotype.json"


def read_training(folder: Path, name: str, notes: list[str]) -> dict[str, Any] | None:
    """The training in a folder as the page's data; None if there is none, faults as notes.

    Args:
        folder: the output folder of ``uxnet train``, finished or not.
        name: for the reader.
        notes: where lines about missing and damaged files go.
    """
    file = folder / CURVES_NAME
    if not file.exists():
        return None
    try:
        history = json.loads(file.read_text())["history"]
        curves = {
            "epoch": [int(entry["epoch"]) for entry in history],
            "loss": [_finite(entry["loss"]) for entry in history],
            "dice": [_finite(entry["val_dice"]) for entry in history],
        }
        classes = list(history[0]["class_dice"]) if history else []
        curves["classes"] = [
            [_finite(entry["class_dice"].get(each)) for entry in history] for each in classes
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        notes.append(f"{file}: the learning curves cannot be read ({type(error).__name__}: {error})")
        return None
    return {
        "name": name,
        "classes": classes,
        "curves": curves,
        "result": _read_result(folder, name, notes),
        "drawing": _drawing(folder, notes),
    }


def _read_result(folder: Path, name: str, notes: list[str]) -> dict[str, Any]:
    try:
        values = json.loads((folder / RESULT_NAME).read_text())
        return {str(key): value for key, value in values.items() if not isinstance(value, Mapping)}
    except FileNotFoundError:
        notes.append(f"{name}: this training is not finished; shown are the validations so far")
    except (OSError, ValueError, AttributeError) as error:
        notes.append(f"{folder / RESULT_NAME}: cannot be read ({error})")
    return {}


def _drawing(folder: Path, notes: list[str]) -> str | None:
    """The drawing of the network as a data URL; None for a network that no genotype describes."""
    if not (folder / GENOTYPE_NAME).exists():
        return None
    try:
        genotype = Genotype.load(folder / GENOTYPE_NAME)
        settings = (
            yaml.safe_load((folder / CONFIG_NAME).read_text()) if (folder / CONFIG_NAME).exists() else {}
        )
        spatial_dims = settings.get("plan", {}).get("spatial_dims", 3)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "architecture.svg"
            save(draw(genotype, spatial_dims=spatial_dims), file)
            return "data:image/svg+xml;base64," + base64.b64encode(file.read_bytes()).decode()
    except (UserError, OSError, AttributeError, yaml.YAMLError) as error:
        notes.append(
            f"{folder / GENOTYPE_NAME}: the network cannot be drawn ({' '.join(str(error).split())})"
        )
        return None


def _finite(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None
