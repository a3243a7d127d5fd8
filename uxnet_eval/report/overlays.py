"""Segmentations over their images in three planes: the prediction filled, the reference outlined.

Array legend: *S = H W or D H W of a case in RAS orientation; a view is (H, W) with the top row first. Colours are
those of Okabe and Ito, which stay apart for every common kind of colour blindness.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

FOLDER, INDEX = "overlays", "overlays.json"
FORMAT, VERSION = "uxnet-overlays", 1
CLASS_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2")
HEIGHT_PIXELS = 260
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


def overlay_picture(
    image: np.ndarray, reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float]
) -> np.ndarray:
    """The planes of one case side by side, H x W x 3, uint8.

    In 3-D these are the axial, coronal and sagittal planes through the largest cross-sections of the reference
    (of the prediction, if the reference is empty), in radiological convention: the patient's right is on the left.

    Args:
        image: (*S), one channel; scaled to its 1st and 99th percentile.
        reference: (*S), class indices, 0 background.
        prediction: (*S), class indices.
        spacing_mm: along the axes; voxels are drawn in their true proportions.
    """
    low, high = np.percentile(image, (1, 99))
    gray = np.clip((image - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
    views = []
    for axis in (2, 1, 0) if image.ndim == 3 else (None,):
        position = _position(reference, prediction, axis)
        views.append(
            _paint(
                _view(gray, axis, position),
                _view(reference, axis, position),
                _view(prediction, axis, position),
                _pixel_mm(spacing_mm, axis),
            )
        )
    height = max(view.shape[0] for view in views)
    padded = [np.pad(view, ((0, height - view.shape[0]), (0, 6), (0, 0))) for view in views]
    return np.concatenate(padded, axis=1)[:, :-6]


def _position(reference: np.ndarray, prediction: np.ndarray, axis: int | None) -> int:
    if axis is None:
        return 0
    for mask in (reference > 0, prediction > 0):
        areas = mask.sum(axis=tuple(other for other in range(mask.ndim) if other != axis))
        if areas.any():
            return int(areas.argmax())
    return reference.shape[axis] // 2


def _view(volume: np.ndarray, axis: int | None, position: int) -> np.ndarray:
    """A plane with the patient's front or head on top; in 2-D the picture as it is stored, rows first."""
    if axis is None:
        return volume
    plane = volume.take(position, axis=axis)  # the first axis left goes right in the picture, the second up
    return plane.T[::-1, ::-1]


def _pixel_mm(spacing_mm: Sequence[float], axis: int | None) -> tuple[float, float]:
    """Height and width of a pixel of a view."""
    if axis is None:
        return spacing_mm[0], spacing_mm[1]
    width, height = (spacing for number, spacing in enumerate(spacing_mm) if number != axis)
    return height, width


def _paint(
    gray: np.ndarray, reference: np.ndarray, prediction: np.ndarray, pixel_mm: tuple[float, float]
) -> np.ndarray:
    height_mm, width_mm = gray.shape[0] * pixel_mm[0], gray.shape[1] * pixel_mm[1]
    scale = HEIGHT_PIXELS / max(height_mm, width_mm)
    size = max(1, round(width_mm * scale)), max(1, round(height_mm * scale))
    canvas = np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BILINEAR))
    colored = np.repeat(canvas[..., None], 3, axis=2)
    masks = [
        np.asarray(Image.fromarray(labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST))
        for labels in (reference, prediction)
    ]
    for index in np.unique(np.concatenate([mask.ravel() for mask in masks])):
        if index == 0:
            continue
        color = class_color(int(index))
        filled = masks[1] == index
        colored[filled] = 0.55 * colored[filled] + 0.45 * color
        outline = find_boundaries(masks[0] == index, mode="inner")
        colored[outline] = color
    return (255 * np.clip(colored, 0, 1)).round().astype(np.uint8)


def class_color(index: int) -> np.ndarray:
    """Red, green, blue in 0..1 of a foreground class; from the eighth on colours come again."""
    text = CLASS_COLORS[(index - 1) % len(CLASS_COLORS)]
    return np.array([int(text[at : at + 2], 16) for at in (1, 3, 5)], dtype=np.float32) / 255


def write_overlays(folder: Path, overlays: Sequence[Overlay], class_names: Sequence[str], what: str) -> None:
    """Writes ``overlays/`` into an output folder: a PNG for each case and ``overlays.json``, which comes last.

    Args:
        folder: of the run.
        overlays: the cases.
        class_names: background first.
        what: what is shown, such as ``derived network, epoch 12``.
    """
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    entries: list[dict[str, Any]] = []
    for number, overlay in enumerate(overlays):
        name = f"{overlay.rank or number}.png"
        _replace(target / name, png_bytes(overlay.picture))
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
    _replace(target / INDEX, (json.dumps(index, indent=1) + "\n").encode())


def read_overlays(folder: Path, notes: list[str]) -> dict[str, Any] | None:
    """What :func:`write_overlays` wrote, pictures as data URLs; None if there is nothing, faults as notes."""
    index = folder / FOLDER / INDEX
    if not index.exists():
        return None
    try:
        values = json.loads(index.read_text())
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
    """The positions of the best, the median (the lower one of two) and the worst case, None left out.

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


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)
