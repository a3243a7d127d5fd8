"""The overlays of a run, in ``overlays/`` of its folder: choice of cases, writing, reading."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from search_space.reading import read_json

from .files import write_bytes, write_json
from .names import OVERLAYS_FOLDER, OVERLAYS_INDEX

FORMAT, VERSION = "uxnet-overlays", 1
CLASS_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#f0e442")
MAX_BYTES = 4 * 2**20
"""A picture file larger than this was not made here and is not embedded."""


@dataclass(frozen=True)
class Overlay:
    """One case to show.

    Attributes:
        case_id: of the case.
        rank: ``best``, ``median``, ``worst``, or empty.
        dice: mean over the foreground classes that occur; None if none does.
        picture: H x W x 3, uint8, the planes side by side.
    """

    case_id: str
    rank: str
    dice: float | None
    picture: np.ndarray


def write_overlays(folder: Path, overlays: Sequence[Overlay], class_names: Sequence[str], what: str) -> None:
    """Writes ``overlays/`` into an output folder: a PNG per case, then ``overlays.json``.

    Args:
        folder: of the run.
        overlays: the cases.
        class_names: background first.
        what: what is shown, such as ``derived network, epoch 12``.
    """
    target = folder / OVERLAYS_FOLDER
    target.mkdir(exist_ok=True)
    entries: list[dict[str, Any]] = []
    for number, overlay in enumerate(overlays):
        name = f"{overlay.rank or number}.png"
        write_bytes(target / name, png_bytes(overlay.picture))
        entry = asdict(overlay)
        entry["file"] = name
        del entry["picture"]
        entries.append(entry)
    index = {
        "format": FORMAT,
        "version": VERSION,
        "what": what,
        "classes": list(class_names),
        "cases": entries,
    }
    write_json(target / OVERLAYS_INDEX, index)


def read_overlays(folder: Path, notes: list[str]) -> dict[str, Any] | None:
    """What :func:`write_overlays` wrote, with pictures as data URLs; None if there is nothing.

    Faults are added to the notes.
    """
    index = folder / OVERLAYS_FOLDER / OVERLAYS_INDEX
    if not index.exists():
        return None
    try:
        values = read_json(index)
        if values.get("format") != FORMAT or values.get("version") != VERSION:
            raise ValueError(f"version {values.get('version')!r}, this program reads {VERSION}")
        cases = []
        for entry in values["cases"]:
            file = index.parent / Path(str(entry["file"])).name
            if file.stat().st_size > MAX_BYTES:
                raise ValueError(f"{file.name} is larger than {MAX_BYTES // 2**20} MiB")
            with Image.open(file) as picture:
                picture.load()  # a picture that is cut short raises here, not as a blank in the page
            cases.append(
                {
                    "caseId": str(entry["case_id"]),
                    "rank": str(entry["rank"]),
                    "dice": entry["dice"],
                    "url": "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode(),
                }
            )
        classes = [
            {"name": str(name), "color": CLASS_COLORS[number % len(CLASS_COLORS)]}
            for number, name in enumerate(values["classes"][1:])
        ]
        return {"what": str(values["what"]), "classes": classes, "cases": cases}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        notes.append(f"{index}: the overlays cannot be shown ({' '.join(str(error).split())})")
        return None


def best_median_worst(dices: Sequence[float | None]) -> dict[str, int]:
    """The positions of the best, the (lower) median and the worst case, without None.

    With fewer than three cases the best and, if there are two, the worst.
    """
    order = sorted((dice, number) for number, dice in enumerate(dices) if dice is not None)
    if not order:
        return {}
    ranks = {"best": order[-1][1]}
    if len(order) > 2:
        ranks["median"] = order[(len(order) - 1) // 2][1]
    if len(order) > 1:
        ranks["worst"] = order[0][1]
    return ranks


def png_bytes(picture: np.ndarray) -> bytes:
    """A picture (H x W x 3, uint8) as PNG."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
