"""The look of an architecture drawing: its colours, its letters and the shapes it is made of.

Colours: blue edges are kept, sand ones pruned, and both darken with the gate; the pair stays apart
for every common kind of colour blindness. Kinds of layers differ by the form of their sign as well
as by colour.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Ellipse, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Outline
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Affine2D

from .layout import ARROW, Box, Curve, Layout, Point

Color = str | tuple[float, float, float, float]

INK, PALE_INK, DEAD_INK, GUIDE = "#1d2733", "#68727d", "#8b949e", "#f4f6f8"
KEPT = LinearSegmentedColormap.from_list("kept", ["#86b6e0", "#2f78bd", "#08306b"])
PRUNED = LinearSegmentedColormap.from_list("pruned", ["#f1ece5", "#ebd8bb", "#e3b87d"])
ALONE, UNUSED, CANDIDATE, DEAD = "#1f5fa8", "#e9ebee", "#8fa9c4", "#cdd2d8"
SIGNS = {"normal": "#5b6b7d", "reduction": "#c2571a", "expansion": "#0f8a72"}
TINTS = {"normal": "#dde3ea", "reduction": "#fbdcc4", "expansion": "#c4e9df"}
DASHES = (0, (3.0, 1.2))
BODY_PT, NAME_PT, SMALL_PT, TITLE_PT = 9.0, 9.0, 8.0, 14.0


@lru_cache(maxsize=4096)
def text_width(text: str, points: float, bold: bool = False) -> float:
    """Width of a text, in inches at natural size.

    3 % are added for the hinting of small letters.
    """
    width, _, _ = text_to_path.get_text_width_height_descent(text, _font(points, bold), False)
    return 1.03 * width / 72


@lru_cache(maxsize=64)
def _font(points: float, bold: bool = False) -> FontProperties:
    return FontProperties(family="DejaVu Sans", size=points, weight="bold" if bold else "normal")


def edge_style(role: str, gate: float | None, prune_threshold: float) -> tuple[Color, float]:
    """Colour and width (points) of an edge; both grow with the gate."""
    if gate is None:
        return {"kept": (ALONE, 2.2), "candidate": (CANDIDATE, 1.2)}.get(role, (UNUSED, 0.9))
    if role == "dead":
        return DEAD, 0.6 + 1.8 * gate
    if role == "pruned":
        return PRUNED(gate / prune_threshold if prune_threshold > 0 else 0.0), 0.6 + 1.4 * gate
    above = (gate - prune_threshold) / (1 - prune_threshold) if prune_threshold < 1 else 1.0
    return KEPT(max(0.0, above)), 0.6 + 3.0 * gate


def ramp(prune_threshold: float, steps: int = 120) -> tuple[np.ndarray, list[Color]]:
    """Gates 0..1 in ``steps`` steps and the colour of an edge with such a gate."""
    gates = (np.arange(steps) + 0.5) / steps
    roles = ["kept" if gate >= prune_threshold else "pruned" for gate in gates]
    return gates, [to_rgba(edge_style(r, g, prune_threshold)[0]) for r, g in zip(roles, gates, strict=True)]


class Painter:
    """Draws on a figure in inches at natural size; ``scale`` is the size drawn."""

    def __init__(self, figure: Figure, layout: Layout, scale: float) -> None:
        self.figure, self.layout, self.scale = figure, layout, scale
        width, height = figure.get_size_inches() / scale
        centred = Affine2D().translate((width - layout.width) / 2, (height - layout.height) / 2).scale(scale)
        self._transform = centred + figure.dpi_scale_trans

    def text(
        self,
        x: float,
        y: float,
        text: str,
        points: float = BODY_PT,
        *,
        color: str = INK,
        ha: str = "left",
        bold: bool = False,
        frame: str = "",
        rotation: float = 0,
    ) -> None:
        """One line of text, centred on ``y``; ``frame`` names the card that must hold it."""
        self.add(
            Text(
                x, y, text, color=color, ha=ha, va="center", rotation=rotation, parse_math=False,
                fontproperties=_font(points * self.scale, bold), label=frame,
            ),
            6,
        )  # fmt: skip

    def curve(
        self,
        points: Curve,
        color: Color,
        width: float,
        *,
        z: float,
        name: str = "",
        dashed: bool = False,
    ) -> None:
        """A cubic Bezier curve; ``width`` in points at natural size."""
        codes = [Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4]
        self._stroke(Outline(points, codes), color, width, z, name, dashed)

    def line(
        self, start: Point, end: Point, color: Color, width: float, *, z: float, dashed: bool = False
    ) -> None:
        """A straight line; ``width`` in points at natural size."""
        self._stroke(Outline([start, end]), color, width, z, "", dashed)

    def _stroke(self, path: Outline, color: Color, width: float, z: float, name: str, dashed: bool) -> None:
        style = DASHES if dashed else "-"
        self.add(
            PathPatch(
                path, fc="none", ec=color, lw=width * self.scale, capstyle="butt", ls=style, gid=name or None
            ),
            z,
        )

    def polygon(self, points: list[Point], color: Color, *, z: float) -> None:
        self.add(Polygon(points, closed=True, fc=color, ec="none"), z)

    def rounded(
        self,
        box: Box,
        radius: float,
        color: Color,
        *,
        edge: Color = "none",
        z: float,
        width: float = 1.0,
        label: str = "",
        name: str = "",
    ) -> None:
        """A rectangle with round corners."""
        self.add(
            FancyBboxPatch(
                (box.x0, box.y0), box.width, box.height, boxstyle=f"round,pad=0,rounding_size={radius}",
                fc=color, ec=edge, lw=width * self.scale, label=label, gid=name or None,
            ),
            z,
        )  # fmt: skip

    def sign(self, kind: str, x: float, y: float, color: str) -> None:
        """The sign of a kind of layer: a disc, a triangle down (reduction) or up (expansion)."""
        if kind == "normal":
            self.add(Ellipse((x, y), 0.105, 0.105, fc=color, ec="none"), 5)
        else:
            tip = -0.055 if kind == "reduction" else 0.055
            self.polygon([(x, y + tip), (x - 0.063, y - tip), (x + 0.063, y - tip)], color, z=5)

    def arrow(self, x0: float, x1: float, y: float, color: str) -> None:
        """A short arrow to the right."""
        self.line((x0, y), (x1 - ARROW, y), color, 2.0, z=3)
        self.polygon([(x1, y), (x1 - ARROW, y + 0.05), (x1 - ARROW, y - 0.05)], color, z=3)

    def add(self, artist: Artist, z: float) -> None:
        """Any other artist, in the units of this painter."""
        artist.set_zorder(z)
        artist.set_transform(self._transform)
        self.figure.add_artist(artist)  # no axes: they would cost more time than all that is drawn
