"""The report: one HTML file that holds everything it shows and asks nothing of a network."""

from __future__ import annotations

import html
import json
import os
import time
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from search_space.errors import UserError

from ..runs.files import write_bytes
from ..runs.overlays import CLASS_COLORS
from .elsewhere import export_commands
from .geometry import drawing_look, grid_geometry, operation_titles
from .picture_budget import drop_pictures
from .search_run import MAX_DRAWN_EPOCHS, plain, run_data
from .sources import Source

SCRIPTS = (
    "pruning.js",
    "elements.js",
    "drawing.js",
    "charts.js",
    "search.js",
    "agreement.js",
    "front.js",
    "training.js",
    "scores.js",
    "page.js",
)
MAX_DRAWN_EPOCHS_OF_ALL = 1000
"""Epochs that the sliders of all runs together can show: about 4 MB."""


def page_html(source: Source) -> str:
    """The whole page as text."""
    template = _asset("page.html")
    parts = {
        "TITLE": html.escape(source.title),
        "STYLE": _asset("page.css"),
        "DATA": _json(page_data(source)),
        "SCRIPT": "\n".join(_asset(name) for name in SCRIPTS),
    }
    before, *pieces = template.split("{{")
    filled = [before]
    for piece in pieces:
        name, _, after = piece.partition("}}")
        filled += [parts[name], after]
    return "".join(filled)


def page_data(source: Source) -> dict[str, Any]:
    """What the page shows, as plain values."""
    share = max(2, min(MAX_DRAWN_EPOCHS, MAX_DRAWN_EPOCHS_OF_ALL // max(1, len(source.searches))))
    runs = [run_data(run, share) for run in source.searches]
    drawn = [run for run in runs if run["hasRecord"]]
    data = {
        "title": source.title,
        "origin": source.origin,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "notes": source.all_notes,
        "runs": runs,
        "geometry": {
            f"{levels}-{dims}": grid_geometry(levels, dims)
            for levels, dims in sorted({(run["levels"], run["spatialDims"]) for run in drawn})
        },
        "titles": {
            str(dims): operation_titles(dims) for dims in sorted({run["spatialDims"] for run in drawn})
        },
        "look": drawing_look(),
        "classColors": CLASS_COLORS,
        "fronts": source.fronts,
        "trainings": plain(source.trainings),
        "scores": source.scores,
        "overlays": source.overlays,
        "configuration": source.configuration,
        "exports": export_commands(source),
    }
    data["notes"] += drop_pictures(data)
    return data


def save_page(source: Source, path: str | os.PathLike[str]) -> Path:
    """Writes the page, whole or not at all, and returns its path.

    Raises:
        UserError: if the file cannot be written.
    """
    path = Path(path)
    try:
        write_bytes(path, page_html(source).encode())
    except OSError as error:
        raise UserError(
            f"{path}: the report cannot be written ({error.strerror}); give another file with -o"
        ) from None
    return path


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _json(values: Any) -> str:
    """JSON that may stand inside a script element, whatever the texts hold."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
