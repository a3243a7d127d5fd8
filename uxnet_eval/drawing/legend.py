"""The legend of an architecture drawing: scale of gates, roles of edges, kinds of layers."""

from __future__ import annotations

from matplotlib.collections import PolyCollection

from .layout import Box
from .painter import INK, PALE_INK, SIGNS, SMALL_PT, TINTS, Painter, edge_style, ramp, text_width
from .picture import Picture

_LINE, _SAMPLE, _SCALE_HEIGHT, _SCALE_WIDTH = 0.21, 0.42, 0.5, 1.95
_EDGE_TEXTS = {
    "kept": "kept edge",
    "pruned": "pruned edge",
    "restored": "edge kept to reach the output",
    "dead": "open edge that leads nowhere",
    "candidate": "edge to search",
}
_WEIGHT_TEXT, _DEAD_TEXT = "its weight in the mixture", "dead node, unused layer"
_KIND_TEXTS = {"reduction": "reduction layer", "expansion": "expansion layer", "normal": "normal layer"}


class Legend:
    """The legend of one picture; ``size`` (inches) is the same for all pictures of one search."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.side_by_side = picture.grid.levels >= 4
        if picture.gates:
            # Room for every role, so that the drawing keeps its size when an edge changes its role.
            roles, self.edge_roles = list(_EDGE_TEXTS), ["kept", "pruned"]
            self.edge_roles += [role for role in ("restored", "dead") if role in picture.edges.values()]
            roles.remove("candidate")
        else:
            self.edge_roles = [role for role in _EDGE_TEXTS if role in picture.edges.values()]
            roles = self.edge_roles if "candidate" in self.edge_roles else ["kept", "pruned"]
        self.kinds = list(_KIND_TEXTS) if any(picture.rows.values()) else []
        self.weights = any(row.weight is not None for rows in picture.rows.values() for row in rows)
        edges_height = len(roles) * _LINE + (_SCALE_HEIGHT + 0.1 if picture.gates else 0)
        self.nodes_height = (len(self.kinds) + 1 + self.weights) * _LINE
        self.edges_width = max(_SAMPLE + 0.1 + text_width(_EDGE_TEXTS[role], SMALL_PT) for role in roles)
        nodes_width = _SAMPLE + 0.15 + max(text_width(text, SMALL_PT) for text in (_WEIGHT_TEXT, _DEAD_TEXT))
        if self.side_by_side:
            self.size = (self.edges_width + 0.35 + nodes_width, max(edges_height, self.nodes_height))
        else:
            self.size = (max(self.edges_width, nodes_width), edges_height + self.nodes_height + 0.1)

    def paint(self, painter: Painter) -> None:
        """Draws the legend into its place in the layout."""
        box = painter.layout.legend
        if self.side_by_side:
            self._paint_edges(painter, box.x0, box.y1)
            self._paint_nodes(painter, box.x0 + self.edges_width + 0.35, box.y1)
        else:
            self._paint_nodes(painter, box.x0, box.y1)
            self._paint_edges(painter, box.x0, box.y1 - self.nodes_height - 0.1)

    def _paint_edges(self, painter: Painter, x: float, y: float) -> None:
        picture = self.picture
        if picture.gates:
            self._paint_scale(painter, x, y)
            y -= _SCALE_HEIGHT + 0.1
        for role in self.edge_roles:
            tau = picture.prune_threshold
            samples = {"kept": (1 + tau) / 2, "pruned": tau / 2, "restored": tau / 2, "dead": (1 + tau) / 2}
            gate = samples[role] if picture.gates else None
            color, width = edge_style(role, gate, picture.prune_threshold)
            middle = y - _LINE / 2
            painter.line((x, middle), (x + _SAMPLE, middle), color, width, z=3, dashed=role == "restored")
            painter.text(x + _SAMPLE + 0.1, middle, _EDGE_TEXTS[role], SMALL_PT)
            y -= _LINE

    def _paint_scale(self, painter: Painter, x: float, y: float) -> None:
        """A wedge as thick and as coloured as edges are, from gate 0 to 1, with tau marked."""
        tau = self.picture.prune_threshold
        gates, colors = ramp(tau)
        middle, step, x1 = y - 0.27, 0.5 / len(gates), x + _SCALE_WIDTH
        pieces = []
        for (
            gate
        ) in gates:  # each piece reaches to the right end, under the thicker ones that follow: no seams
            half = edge_style("kept" if gate >= tau else "pruned", gate, tau)[1] / 72 * 1.3
            x0 = x + (gate - step) * _SCALE_WIDTH
            pieces.append(
                [(x0, middle - half), (x1, middle - half), (x1, middle + half), (x0, middle + half)]
            )
        painter.add(PolyCollection(pieces, facecolors=colors, edgecolors="none", snap=False), 3)
        at = x + tau * _SCALE_WIDTH
        painter.line((at, middle + 0.1), (at, middle - 0.1), INK, 1.0, z=4)
        mark = f"τ = {tau:.2f}"
        half = text_width(mark, SMALL_PT) / 2
        mark_x = min(max(at, x + half + 0.12), x + _SCALE_WIDTH - half - 0.12)
        painter.text(mark_x, middle - 0.19, mark, SMALL_PT, ha="center")
        painter.text(x, middle - 0.19, "0", SMALL_PT, color=PALE_INK, ha="center")
        painter.text(x + _SCALE_WIDTH, middle - 0.19, "1", SMALL_PT, color=PALE_INK, ha="center")
        painter.text(x, middle + 0.19, "gate of an edge", SMALL_PT)

    def _paint_nodes(self, painter: Painter, x: float, y: float) -> None:
        for kind in self.kinds:
            middle = y - _LINE / 2
            painter.rounded(Box(x, middle - 0.085, x + _SAMPLE, middle + 0.085), 0.05, TINTS[kind], z=3)
            painter.sign(kind, x + _SAMPLE / 2, middle, SIGNS[kind])
            painter.text(x + _SAMPLE + 0.1, middle, _KIND_TEXTS[kind], SMALL_PT)
            y -= _LINE
        if self.weights:
            middle = y - _LINE / 2
            painter.text(x + _SAMPLE - 0.04, middle, ".42", SMALL_PT, ha="right")
            painter.text(x + _SAMPLE + 0.1, middle, _WEIGHT_TEXT, SMALL_PT)
            y -= _LINE
        middle = y - _LINE / 2
        painter.rounded(
            Box(x, middle - 0.085, x + _SAMPLE, middle + 0.085), 0.05, "#f1f2f4", edge="#d3d7dc", z=3
        )
        painter.text(x + _SAMPLE + 0.1, middle, _DEAD_TEXT, SMALL_PT)
