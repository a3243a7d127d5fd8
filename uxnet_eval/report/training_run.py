"""A training as the report shows it: learning curves and result, from its folder."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_space.errors import UserError
from search_space.genotype import Genotype
from search_space.reading import read_json, read_yaml

from ..drawing import draw, encoded
from ..runs.names import CONFIG_NAME, CURVES_NAME, GENOTYPE_NAME, RESULT_NAME
from .numbers import finite


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
        history = read_json(file)["history"]
        curves = {
            "epoch": [int(entry["epoch"]) for entry in history],
            "loss": [finite(entry["loss"]) for entry in history],
            "dice": [finite(entry["val_dice"]) for entry in history],
        }
        classes = list(history[0]["class_dice"]) if history else []
        curves["classes"] = [[finite(entry["class_dice"].get(each)) for entry in history] for each in classes]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        notes.append(f"{file}: the learning curves cannot be read ({type(error).__name__}: {error})")
        return None
    settings = _read_settings(folder, notes)
    genotype = _read_genotype(folder, notes)
    return {
        "name": name,
        "classes": classes,
        "curves": curves,
        "result": _read_result(folder, name, notes),
        "drawing": None if genotype is None else _drawing(genotype, settings),
        "provenance": {
            "folder": str(folder),
            **{key: settings[key] for key in ("dataset", "plan", "network", "train") if key in settings},
            **({} if genotype is None else {"genotype": _origin(genotype)}),
        },
    }


def _read_result(folder: Path, name: str, notes: list[str]) -> dict[str, Any]:
    try:
        values = read_json(folder / RESULT_NAME)
        return {str(key): value for key, value in values.items() if not isinstance(value, Mapping)}
    except FileNotFoundError:
        notes.append(f"{name}: this training is not finished; shown are the validations so far")
    except (OSError, ValueError, AttributeError) as error:
        notes.append(f"{folder / RESULT_NAME}: cannot be read ({error})")
    return {}


def _read_settings(folder: Path, notes: list[str]) -> dict[str, Any]:
    """The resolved configuration of the run; empty if there is none."""
    try:
        settings = read_yaml(folder / CONFIG_NAME)
        if not isinstance(settings, dict):
            raise ValueError("no mapping")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        notes.append(f"{folder / CONFIG_NAME}: cannot be read ({' '.join(str(error).split())})")
        return {}
    return settings


def _read_genotype(folder: Path, notes: list[str]) -> Genotype | None:
    """The genotype that was trained; None for a network that no genotype describes."""
    if not (folder / GENOTYPE_NAME).exists():
        return None
    try:
        return Genotype.load(folder / GENOTYPE_NAME)
    except UserError as error:
        notes.append(f"{error}; its network cannot be drawn")
        return None


def _drawing(genotype: Genotype, settings: Mapping[str, Any]) -> str:
    """The drawing of the network as a data URL."""
    plan = settings.get("plan")
    spatial_dims = plan.get("spatial_dims", 3) if isinstance(plan, dict) else 3
    drawing = encoded(draw(genotype, spatial_dims=2 if spatial_dims == 2 else 3), ".svg")
    return "data:image/svg+xml;base64," + base64.b64encode(drawing).decode()


def _origin(genotype: Genotype) -> dict[str, Any]:
    """The genotype's provenance without gates and alphas, which the search's report shows."""
    return {key: value for key, value in genotype.provenance.items() if key not in ("gates", "alphas")}
