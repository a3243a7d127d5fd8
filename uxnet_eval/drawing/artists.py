"""Composes the picture of an architecture: guides, edges, cards, input image and segmentation."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle

from search_space.grid import Edge, Node
from search_space.operations import KINDS, describe, legal_operations

from .layout import ARROW, LEFT, ROW, Box, Layout, shortened
from .legend import Legend
from .painter import (
    BODY_PT,
    DEAD_INK,
    GUIDE,
    INK,
    NAME_PT,
    PALE_INK,
    SIGNS,
    SMALL_PT,
    TINTS,
    TITLE_PT,
    Painter,
    edge_style,
    text_width,
)  # fmt: skip
from .picture import Picture, Row

_SIGN_ROOM, _WEIGHT_ROOM, _PADDING = 0.26, 0.3, 0.1


@lru_cache(maxsize=8)
def card_width(spatial_dims: int, with_weights: bool) -> float:
    """Room for the longest operation, so that all drawings of a search have one size."""
    titles = [describe(name, spatial_dims) for kind in KINDS for name in legal_operations(kind, 3)]
    longest = max(text_width(title, BODY_PT) for title in titles)
    return _SIGN_ROOM + longest + (_WEIGHT_ROOM if with_weights else 0) + _PADDING


def paint(picture: Picture, figsize: tuple[float, float] | None, dpi: float) -> Figure:
    """The figure of a picture, at natural size or scaled into ``figsize`` (inches)."""
    legend = Legend(picture)
    with_weights = any(row.weight is not None for rows in picture.rows.values() for row in rows)
    layout = Layout(picture.grid, card_width(picture.spatial_dims, with_weights), legend.size)
    width, height = figsize or (layout.width, layout.height)
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    scale = min(width / layout.width, height / layout.height)
    painter = Painter(figure, layout, scale)
    _paint_guides(painter, picture)
    for edge in sorted(picture.edges, key=lambda edge: _order(picture, edge)):
        _paint_edge(painter, picture, edge)
    for node in picture.grid.nodes:
        _paint_card(painter, node, picture.rows[node], node in picture.live)
    _paint_ends(painter, picture)
    legend.paint(painter)
    return figure


def _order(picture: Picture, edge: Edge) -> tuple[bool, float]:
    return picture.edges[edge] in ("kept", "restored"), picture.gates.get(edge, 0.0)


def _paint_edge(painter: Painter, picture: Picture, edge: Edge) -> None:
    role, gate = picture.edges[edge], picture.gates.get(edge)
    color, width = edge_style(role, gate, picture.prune_threshold)
    curve = painter.layout.curve(edge)
    if role in ("pruned", "dead"):
        painter.curve(curve, color, width, z=1, name=str(edge))
        return
    body, (dx, dy) = shortened(curve, ARROW)
    if role != "candidate":
        painter.curve(body, "white", width + 1.8, z=2)  # a white rim keeps crossing curves apart
    painter.curve(body, color, width, z=2, name=str(edge), dashed=role == "restored")
    (x, y), half = curve[3], 0.028 + 0.007 * width
    bx, by = x - dx * ARROW, y - dy * ARROW
    painter.polygon([(x, y), (bx - dy * half, by + dx * half), (bx + dy * half, by - dx * half)], color, z=3)


def _paint_card(painter: Painter, node: Node, rows: tuple[Row, ...], live: bool) -> None:
    box, frame = painter.layout.card(node), f"card:{node}"
    fill, line = ("#ffffff", "#54677c") if live else ("#f1f2f4", "#d3d7dc")
    ink = INK if live else DEAD_INK
    painter.rounded(box, 0.07, fill, edge=line, z=4, width=1.1, label=frame, name=str(node))
    header_y = box.y1 - 0.13
    painter.text(box.x0 + 0.09, header_y, str(node), NAME_PT, color=ink, bold=True, frame=frame)
    top = header_y - 0.13
    if len(rows) == 1:
        top -= ROW / 2 + 0.015  # a single row lies in the middle
    for index, row in enumerate(rows):
        y1 = top - index * (ROW + 0.03)
        pill = Box(box.x0 + 0.05, y1 - ROW, box.x1 - 0.05, y1)
        _paint_row(painter, pill, row, live and row.built, frame)


def _paint_row(painter: Painter, pill: Box, row: Row, live: bool, frame: str) -> None:
    tint = TINTS[row.kind] if live else "#e4e7ea"
    if row.weight is None:
        painter.rounded(pill, 0.05, tint, z=4.5)
    else:  # the tint fills as much of the row as the operation's weight
        painter.rounded(pill, 0.05, "#f6f7f9", z=4.4)
        painter.rounded(
            Box(pill.x0, pill.y0, pill.x0 + max(0.1, pill.width * row.weight), pill.y1), 0.05, tint, z=4.5
        )
    y = pill.center[1]
    painter.sign(row.kind, pill.x0 + 0.1, y, SIGNS[row.kind] if live else "#a9b0b8")
    ink = INK if live else DEAD_INK
    painter.text(pill.x0 + _SIGN_ROOM - 0.06, y, row.title, color=ink, frame=frame)
    if row.weight is not None:
        weight = f"{min(row.weight, 1.0):.2f}".removeprefix("0")
        painter.text(pill.x1 - 0.04, y, weight, SMALL_PT, color=ink, ha="right", frame=frame)


def _paint_guides(painter: Painter, picture: Picture) -> None:
    layout, levels = painter.layout, picture.grid.levels
    for level in range(levels):
        last = layout.card(Node(levels - 1 - level, level))
        band = Box(LEFT - 0.08, last.y0 - 0.11, last.x1 + 0.12, last.y1 + 0.11)
        painter.rounded(band, 0.1, GUIDE, z=0)
        painter.text(
            LEFT - 0.2, last.center[1], f"level {level}", SMALL_PT, color=PALE_INK, ha="center", rotation=90
        )
    for stage in range(levels):
        top = layout.card(Node(stage, 0))
        name = (
            "encoder: stage 0"
            if stage == 0
            else f"decoder: stage {stage}"
            if stage == 1
            else f"stage {stage}"
        )
        painter.text(top.center[0], top.y1 + 0.22, name, SMALL_PT, color=PALE_INK, ha="center")


def _paint_ends(painter: Painter, picture: Picture) -> None:
    """Icons of the input image and the segmentation, with title and counts above."""
    layout = painter.layout
    first, last = layout.card(picture.grid.input), layout.card(picture.grid.output)
    y, side = first.y1 - 0.14, 0.4
    x = LEFT + 0.04
    _paint_icon(painter, x, y, side, picture.spatial_dims, ("#454c55", "#8d959f", "#c9ced4"))
    painter.arrow(x + side + 0.09, first.x0, y, INK)
    painter.text(x + side / 2, y - side / 2 - 0.1, "image", SMALL_PT, ha="center")
    y = last.center[1]
    x = last.x1 + 0.36
    painter.arrow(last.x1, x - 0.05, y, INK)
    _paint_icon(painter, x, y, side, picture.spatial_dims, ("#e9edf2", "#86b6e0", "#e0912f"))
    painter.text(x + side / 2, y - side / 2 - 0.1, "segmentation", SMALL_PT, ha="center")

    kept = sum(role in ("kept", "restored", "candidate") for role in picture.edges.values())
    counts = f"{kept} of {len(picture.edges)} edges and {len(picture.live)} of {len(picture.grid.nodes)} nodes kept"
    if "candidate" in picture.edges.values():
        counts = f"{len(picture.edges)} edges and {len(picture.grid.nodes)} nodes to search"
    right, y = layout.width - 0.15, layout.height - 0.24
    painter.text(right, y, counts, SMALL_PT, color=PALE_INK, ha="right")
    room = right - 0.3 - text_width(counts, SMALL_PT) - (LEFT - 0.08)
    title, points = _fitted(" ".join(picture.title.split()), room)
    painter.text(LEFT - 0.08, y, title, points, bold=True)


def _paint_icon(
    painter: Painter, x: float, y: float, side: float, dims: int, colors: tuple[str, str, str]
) -> None:
    """A square with an organ and a lesion in it; three squares deep for a volume."""
    for depth in range(2 if dims == 3 else 0, -1, -1):
        corner = x + 0.035 * depth, y - side / 2 + 0.035 * depth
        painter.add(
            Rectangle(corner, side, side, fc=colors[0], ec="white", lw=0.8 * painter.scale), 4 - depth / 10
        )
    center = x + side / 2, y
    painter.add(Ellipse(center, 0.74 * side, 0.6 * side, angle=20, fc=colors[1], ec="none"), 4.1)
    painter.add(Ellipse((center[0] + 0.05, y + 0.02), 0.26 * side, 0.2 * side, fc=colors[2], ec="none"), 4.2)


def _fitted(text: str, room: float) -> tuple[str, float]:
    """The text and its size in points such that it fits ``room``: smaller first, then cut short."""
    for points in (TITLE_PT, 12.0, 10.0):
        if text_width(text, points, True) <= room:
            return text, points
    fitting = bisect_right(range(len(text)), room, key=lambda n: text_width(text[:n] + "…", 10.0, True)) - 1
    return text[: max(fitting, 0)].rstrip() + "…", 10.0
