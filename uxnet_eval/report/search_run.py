"""One search as the report shows it: read from its output folder, whatever state that is in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_space.errors import UserError
from search_space.genotype import parse_layer
from search_space.grid import Grid
from search_space.operations import legal_operations
from search_space.reading import read_json

from ..runs.names import CHECKPOINT_NAME, RESULT_NAME, SEARCH_NAME
from ..runs.overlays import read_overlays
from ..runs.search_record import SearchRecord
from .numbers import finite

MAX_DRAWN_EPOCHS = 60
"""Epochs of one run that the sliders can show; of more, evenly spaced ones. Learning curves show
all."""

DONE, NOT_FINISHED = "done", "not finished"
NO_RESULT = "no final result yet"
CURVES = ("default", "derived_dice", "loss_weights", "loss_architecture")


@dataclass
class SearchRun:
    """One search.

    Attributes:
        name: for the reader.
        folder: its output folder.
        record: what it recorded; None if there is nothing that can be read.
        status: in words.
        parameters: what NNI's tuner chose for it.
        final: its final result by key; empty if it has none yet.
        notes: what is missing or damaged, a line each.
    """

    name: str
    folder: Path
    record: SearchRecord | None
    status: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    final: Mapping[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_search(folder: Path, name: str) -> SearchRun:
    """The search in an output folder; what cannot be read becomes a note.

    Args:
        folder: the output folder, finished, running or left by a run that was killed.
        name: for the reader.
    """
    run = SearchRun(name, folder, None)
    try:
        if not (folder / SEARCH_NAME).exists() and folder.is_dir():
            begun = "stopped" if (folder / CHECKPOINT_NAME).exists() else "began"
            run.notes.append(
                f"{name}: no {SEARCH_NAME} yet: the run {begun} before its first validation, nothing can be drawn"
            )
        else:
            run.record = _checked(SearchRecord.load(folder), folder / SEARCH_NAME, run.notes)
    except UserError as error:
        run.notes.append(str(error))
    try:
        run.final = _numbers(read_json(folder / RESULT_NAME))
        run.status = DONE
    except FileNotFoundError:
        run.status = NOT_FINISHED
        if run.record is not None:
            run.notes.append(f"{name}: {NO_RESULT}; shown is the newest validation")
    except (OSError, ValueError, AttributeError) as error:
        run.status = NOT_FINISHED
        run.notes.append(f"{folder / RESULT_NAME}: cannot be read ({error}); shown is the newest validation")
    return run


def run_data(run: SearchRun, max_epochs: int = MAX_DRAWN_EPOCHS) -> dict[str, Any]:
    """A run as the page's data: plain values, gates in the order of the grid's edges.

    Args:
        run: the run; one without a record has its notes alone.
        max_epochs: epochs for the sliders, at least 2; the first and the last one are among them.
    """
    data: dict[str, Any] = {
        "name": run.name,
        "folder": str(run.folder),
        "status": run.status,
        "parameters": dict(run.parameters),
        "final": dict(run.final),
        "notes": run.notes,
        "hasRecord": run.record is not None,
    }
    if run.record is None:
        return data
    record, grid = run.record, Grid(run.record.levels)
    shown = _evenly(record.history, max_epochs)
    everything = dict.fromkeys(map(str, grid.edges), 0.0)
    fixed = dict.fromkeys(record.fixed_edges, 1.0)
    layers: dict[str, Any] = {}
    for layer in map(str, grid.layers):
        if layer in record.alphas:
            names = list(record.alphas[layer])
            weights = [
                [round(float(entry["alphas"][layer].get(name, 0.0)), 6) for name in names] for entry in shown
            ]
            layers[layer] = {"operations": names, "weights": weights}
        elif layer in record.fixed_operations:
            layers[layer] = {"operations": [record.fixed_operations[layer]], "weights": None}
    return data | {
        "levels": record.levels,
        "spatialDims": record.spatial_dims,
        "pruneThreshold": record.prune_threshold,
        "searchedEdges": [str(edge) for edge in grid.edges if str(edge) in record.gates],
        "epochs": [entry["epoch"] + 1 for entry in shown],
        "gates": [list((everything | entry["gates"] | fixed).values()) for entry in shown],
        "layers": layers,
        "curves": {
            "epoch": [entry["epoch"] + 1 for entry in record.history],
            **{key: [finite(entry.get(key)) for entry in record.history] for key in CURVES},
        },
        "provenance": plain(record.provenance),
        "overlays": read_overlays(run.folder, run.notes),
    }


def _checked(record: SearchRecord, file: Path, notes: list[str]) -> SearchRecord:
    """The record with validations that can be drawn alone; the others are noted.

    Raises:
        UserError: if nothing is left.
    """
    for name, weights in record.alphas.items():
        unknown = set(weights) - set(legal_operations(parse_layer(name).kind, 3))
        if unknown:
            raise UserError(f"{file}: layer {name} has alphas of {min(unknown)}, which is no known operation")
    whole = [entry for entry in record.history if _is_whole(entry, record)]
    if not whole:
        raise UserError(f"{file}: holds no validation that can be drawn; let the search validate once")
    if len(whole) < len(record.history):
        notes.append(
            f"{file}: {len(record.history) - len(whole)} of {len(record.history)} validations have no usable gates "
            "and weights (the search diverged, or the file is damaged); they are left out"
        )
    record.history = whole
    return record


def _is_whole(entry: Any, record: SearchRecord) -> bool:
    try:
        gates, alphas = entry["gates"], entry["alphas"]
        return (
            isinstance(entry["epoch"], int)
            and gates.keys() == record.gates.keys()
            and alphas.keys() == record.alphas.keys()
            and all(0 <= gate <= 1 for gate in gates.values())
            and all(math.isfinite(weight) for weights in alphas.values() for weight in weights.values())
        )
    except (TypeError, KeyError, AttributeError):
        return False


def _evenly(history: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    if len(history) <= count:
        return list(history)
    last = len(history) - 1
    return [history[round(step * last / (count - 1))] for step in range(count)]


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in values.items() if finite(value) is not None}


def plain(value: Any) -> Any:
    """The same value with text in place of numbers that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
