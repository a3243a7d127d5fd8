"""Places and colours of the architecture drawing, which the report's page redraws by itself.

Coordinates are hundredths of an inch at natural size, y downwards as in SVG. Places and colours are
those of :mod:`uxnet_eval.drawing`, so that the page and ``uxnet draw`` show the same picture.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from matplotlib.colors import to_hex

from search_space.grid import Grid
from search_space.operations import KINDS, describe, legal_operations

from ..drawing import painter as look
from ..drawing.artists import card_width
from ..drawing.layout import ARROW, ROW, Layout

UNIT = 100.0
_LEGEND_INCHES = {True: (5.35, 1.5), False: (2.95, 2.75)}  # side by side, or stacked in a small grid


@lru_cache(maxsize=8)
def grid_geometry(levels: int, spatial_dims: int) -> dict[str, Any]:
    """Nodes, edges and layers of a grid in the order of computation, with the place of each.

    Args:
        levels: of the grid.
        spatial_dims: 2 or 3, for the width of the cards.
    """
    grid, side_by_side = Grid(levels), levels >= 4
    layout = Layout(grid, card_width(spatial_dims, True), _LEGEND_INCHES[side_by_side])
    index = {node: number for number, node in enumerate(grid.nodes)}

    def y(value: float) -> float:
        return round(UNIT * (layout.height - value), 2)

    cards = []
    for node in grid.nodes:
        box = layout.card(node)
        cards.append(
            [round(UNIT * box.x0, 2), y(box.y1), round(UNIT * box.width, 2), round(UNIT * box.height, 2)]
        )
    curves = [
        [[round(UNIT * point[0], 2), y(point[1])] for point in layout.curve(edge)] for edge in grid.edges
    ]
    legend = layout.legend
    return {
        "levels": levels,
        "nodes": [str(node) for node in grid.nodes],
        "stages": [node.stage for node in grid.nodes],
        "nodeLevels": [node.level for node in grid.nodes],
        "input": index[grid.input],
        "output": index[grid.output],
        "edges": [str(edge) for edge in grid.edges],
        "sources": [index[edge.source] for edge in grid.edges],
        "targets": [index[edge.target] for edge in grid.edges],
        "coarse": [edge.is_coarse for edge in grid.edges],
        "layers": [str(layer) for layer in grid.layers],
        "layerNodes": [index[layer.node] for layer in grid.layers],
        "layerKinds": [layer.kind for layer in grid.layers],
        "width": round(UNIT * layout.width, 2),
        "height": round(UNIT * layout.height, 2),
        "cards": cards,
        "curves": curves,
        "legend": [round(UNIT * legend.x0, 2), y(legend.y1), side_by_side],
        "arrow": UNIT * ARROW,
        "row": UNIT * ROW,
    }


def drawing_look() -> dict[str, Any]:
    """The colours of the drawing by name; ramps as lists from low to high."""
    return {
        "ink": look.INK,
        "paleInk": look.PALE_INK,
        "deadInk": look.DEAD_INK,
        "guide": look.GUIDE,
        "kept": _ramp(look.KEPT),
        "pruned": _ramp(look.PRUNED),
        "dead": look.DEAD,
        "signs": look.SIGNS,
        "tints": look.TINTS,
    }


def operation_titles(spatial_dims: int) -> dict[str, str]:
    """The paper's notation of every operation by name."""
    return {name: describe(name, spatial_dims) for kind in KINDS for name in legal_operations(kind, 3)}


def _ramp(colormap: Any) -> list[str]:
    return [to_hex(colormap(step / 16)) for step in range(17)]
