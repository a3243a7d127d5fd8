"""The drawing as a figure, as pixels and as a file."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text

from search_space.errors import UserError
from search_space.genotype import Genotype
from search_space.grid import Edge, Grid, Layer

from ..runs.files import replacing
from .artists import paint
from .picture import compose

SUFFIXES = (".png", ".svg")


class LabelBox(NamedTuple):
    """A drawn text and its place in pixels, y upwards.

    ``frame`` is the card or figure that must contain it.
    """

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    frame: tuple[float, float, float, float]


def draw(
    genotype: Genotype | None = None,
    *,
    grid: Grid | None = None,
    gates: Mapping[Edge, float] | None = None,
    alphas: Mapping[Layer, Mapping[str, float]] | None = None,
    prune_threshold: float = 0.75,
    spatial_dims: int = 3,
    title: str = "",
    figsize: tuple[float, float] | None = None,
    dpi: float = 110,
) -> Figure:
    """The drawing of an architecture: levels down, stages across.

    With a genotype alone, its edges are dark and the rest of the grid faint. With ``gates`` every
    edge's thickness and colour show its gate, and with ``alphas`` every layer shows its leading
    operation and that one's weight. With both, the genotype says what is kept; without a genotype
    it is what the derivation would keep at ``prune_threshold`` (if that cuts off the output, with
    the path whose weakest gate is largest). With a grid alone, its search space.

    Args:
        genotype: the architecture; may be left out where ``grid`` is given.
        grid: the grid of a supernet.
        gates: the gate sigma(beta), in 0..1, of every edge of the grid; empty counts as None.
        alphas: by layer, the weights (softmax of alpha, in 0..1) of its candidates; empty counts as
            None.
        prune_threshold: tau, in 0..1.
        spatial_dims: 3 (``3x3x3``) or 2 (``3x3``).
        title: one line; shortened where it is too long.
        figsize: width and height in inches; the drawing is scaled to fit. None: its natural size.
        dpi: pixels per inch.

    Returns:
        A figure of its own (no pyplot state), for :func:`save` or :func:`pixels`. In SVG, each edge
            and node is a
        group whose id is its name (``N0.2-N1.0``, ``N1.0``).

    Raises:
        UserError: if neither genotype nor grid is given, or they, the gates and the alphas do not
            fit together.
    """
    picture = compose(
        genotype,
        grid=grid,
        gates=gates,
        alphas=alphas,
        prune_threshold=prune_threshold,
        spatial_dims=spatial_dims,
        title=title,
    )
    return paint(picture, figsize, dpi)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a drawing as PNG or SVG, by the suffix of ``path``; whole or not at all.

    Raises:
        UserError: for another suffix, or where the file cannot be written.
    """
    suffix, path = check_suffix(path), Path(path)
    try:
        with replacing(path) as part:
            part.write_bytes(encoded(figure, suffix))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); give a folder that exists") from None


def encoded(figure: Figure, suffix: str) -> bytes:
    """A drawing as a PNG or SVG file.

    The same drawing gives the same bytes. In SVG, letters are outlines, so that it looks alike
    everywhere.

    Args:
        figure: the drawing.
        suffix: ``.png`` or ``.svg``.
    """
    metadata = {"Software": None} if suffix == ".png" else {"Date": None, "Creator": None}
    stream = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "uxnet", "svg.fonttype": "path"}):
        figure.savefig(stream, format=suffix[1:], dpi=figure.dpi, metadata=metadata)
    return stream.getvalue()


def check_suffix(path: str | os.PathLike[str]) -> str:
    """The lower-case suffix of a drawing's file name.

    Raises :class:`UserError` for a suffix that is not supported.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{path}: cannot draw as '{suffix}'; give a name that ends in {' or '.join(SUFFIXES)}"
        )
    return suffix.lower()


def pixels(figure: Figure) -> np.ndarray:
    """A drawing as uint8 values (H, W, 3).

    TensorBoard takes it by ``add_image(..., dataformats="HWC")``.
    """
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]


def draw_genotype_file(
    genotype_path: str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    *,
    spatial_dims: int = 3,
    title: str | None = None,
    dpi: float = 110,
) -> None:
    """Draws the genotype of a JSON file to a PNG or SVG file.

    The default title is the file's name.

    Raises:
        UserError: if the genotype cannot be read, or the drawing not be written.
    """
    check_suffix(out_path)
    genotype = Genotype.load(genotype_path)
    title = Path(genotype_path).stem if title is None else title
    save(draw(genotype, spatial_dims=spatial_dims, title=title, dpi=dpi), out_path)


def label_boxes(figure: Figure) -> list[LabelBox]:
    """Every text of a drawing and its pixels.

    No text may overlap another or leave its frame.
    """
    cards = [artist for artist in figure.artists if isinstance(artist, FancyBboxPatch) and artist.get_label()]
    frames = {card.get_label(): _card_pixels(card) for card in cards}
    whole = figure.bbox.extents
    boxes = []
    for text in figure.artists:
        if isinstance(text, Text) and text.get_text():
            x0, y0, x1, y1 = frames.get(text.get_label(), whole)
            left, lower, right, upper = _text_pixels(text, figure.dpi)
            boxes.append(LabelBox(text.get_text(), left, lower, right, upper, frame=(x0, y0, x1, y1)))
    return boxes


def _card_pixels(card: FancyBboxPatch) -> np.ndarray:
    """Left, lower, right and upper side of a card; its corners are round, its sides straight."""
    x, y = card.get_x(), card.get_y()
    corners = [(x, y), (x + card.get_width(), y + card.get_height())]
    return card.get_transform().transform(corners).ravel()


_OFFSETS: dict[tuple[Any, ...], np.ndarray] = {}
"""How far a text's sides lie from its anchor, in pixels: measured once for all drawings, for it
takes long."""


def _text_pixels(text: Text, dpi: float) -> np.ndarray:
    anchor = text.get_transform().transform(text.get_position())
    alignment = text.get_horizontalalignment(), text.get_rotation()
    key = (text.get_text(), text.get_fontsize(), text.get_fontweight(), *alignment, dpi)
    if key not in _OFFSETS:
        if len(_OFFSETS) > 10_000:
            _OFFSETS.clear()
        _OFFSETS[key] = text.get_window_extent().extents - np.tile(anchor, 2)
    return np.tile(anchor, 2) + _OFFSETS[key]
