"""The layout of an architecture drawing: pure geometry, in inches at natural size, y upwards.

Columns are stages (the encoder at the left), rows are levels (full resolution on top). The layout
depends on the number of levels and the width of the cards alone, so that drawings of one search can
be shown as a film.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from search_space.grid import Edge, Grid, Node

Point = tuple[float, float]
Curve = tuple[Point, Point, Point, Point]

LEFT, RIGHT, TOP, BOTTOM = 0.36, 1.06, 0.86, 0.2  # margins; RIGHT holds the segmentation's icon
ROW = 0.2  # height of one layer within a card
CARD_HEIGHT = 0.72
ROW_PITCH = 1.16
ARROW = 0.1  # length of an arrow head


@dataclass(frozen=True)
class Box:
    """An axis-parallel rectangle."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def center(self) -> Point:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True)
class Layout:
    """The places of nodes, edges and legend of one grid.

    Attributes:
        grid: the grid that is drawn.
        card_width: width of a node's card, in inches.
        legend_size: width and height that the legend needs, in inches.
    """

    grid: Grid
    card_width: float
    legend_size: Point

    @cached_property
    def bow_width(self) -> float:
        """Room at the left of the encoder for its dense connections and the image's icon."""
        return max(0.95, 0.3 + self._bow(self.grid.levels - 1) * 0.75)

    @cached_property
    def _columns(self) -> tuple[float, ...]:
        """Left side of each column; the more edges a gap holds, the wider it is."""
        x = [LEFT + self.bow_width]
        for stage in range(1, self.grid.levels):
            x.append(x[-1] + self.card_width + self.gap(stage))
        return tuple(x)

    def gap(self, stage: int) -> float:
        """Width of the gap at the left of a decoder stage's column."""
        return 0.48 + 0.17 * (self.grid.levels - stage + 1)

    @cached_property
    def width(self) -> float:
        """Width of the drawing; wide enough for its title too."""
        return max(self._columns[-1] + self.card_width + RIGHT, LEFT + self.legend_size[0] + 0.15)

    @cached_property
    def height(self) -> float:
        grid_height = TOP + ROW_PITCH * (self.grid.levels - 1) + CARD_HEIGHT + BOTTOM
        return max(grid_height, self._legend_depth + self.legend_size[1] + BOTTOM)

    @cached_property
    def _legend_depth(self) -> float:
        """Depth from the top below which the lower right holds only the legend."""
        left = self.width - 0.15 - self.legend_size[0]
        for stage in range(self.grid.levels - 1, -1, -1):
            if left < self._columns[stage] + self.card_width + 0.25:
                blocking = stage
        lowest = self.grid.levels - 1 - blocking
        return TOP + ROW_PITCH * lowest + CARD_HEIGHT + 0.2

    @property
    def legend(self) -> Box:
        """The legend's place: the free triangle under the decoder, or below the grid."""
        x1 = self.width - 0.15
        return Box(x1 - self.legend_size[0], BOTTOM, x1, BOTTOM + self.legend_size[1])

    def card(self, node: Node) -> Box:
        """The card of a node."""
        x0 = self._columns[node.stage]
        y1 = self.height - TOP - ROW_PITCH * node.level
        return Box(x0, y1 - CARD_HEIGHT, x0 + self.card_width, y1)

    def curve(self, edge: Edge) -> Curve:
        """Control points of an edge's cubic Bezier curve, from the source's to the target's port.

        Edges of one gap never leave it, so they hide no card; the encoder's longer edges bow to its
        left.
        """
        source, target = self.card(edge.source), self.card(edge.target)
        if edge.target.stage > 0:
            start = source.x1, self._right_port(edge)
            end = target.x0, self._left_port(edge)
            gap, bend = end[0] - start[0], self._bend(edge)
            return (
                start,
                (start[0] + (0.55 + bend) * gap, start[1]),
                (end[0] - (0.55 - bend) * gap, end[1]),
                end,
            )
        span = edge.target.level - edge.source.level
        if span == 1:
            x = source.center[0]
            third = (source.y0 - target.y1) / 3
            return (x, source.y0), (x, source.y0 - third), (x, target.y1 + third), (x, target.y1)
        start, end = (source.x0, self._bow_start(edge)), (target.x0, self._bow_end(edge))
        bow = self._bow(span)
        return start, (start[0] - bow, start[1]), (end[0] - bow, end[1]), end

    def _bend(self, edge: Edge) -> float:
        """How much later than in the middle of its gap an edge turns, as a share of the gap.

        Edges that rise turn the later, the deeper they begin and end; those that fall the earlier.
        So edges with a common source or target run side by side and do not cross.
        """
        if edge.source.level == edge.target.level:
            return 0.0
        deepest = 2 * (self.grid.levels - edge.target.stage) - 1
        later = 2 * (edge.source.level + edge.target.level) / deepest - 1
        most = 0.3 * (1 - 1 / (self.grid.levels - edge.target.stage))  # a lone target needs no staggering
        return most * later if edge.is_coarse else -most * later

    def _bow(self, span: int) -> float:
        return 0.3 + 0.27 * span

    def _right_port(self, edge: Edge) -> float:
        card = self.card(edge.source)
        return _port(card, edge.target.level, self.grid.levels - edge.target.stage)

    def _left_port(self, edge: Edge) -> float:
        card = self.card(edge.target)
        return _port(card, edge.source.level, self.grid.levels - edge.source.stage)

    def _bow_start(self, edge: Edge) -> float:
        # Nested like an onion: the longest connection leaves highest and enters lowest. Those that
        # leave take the lower half of a card's side, those that enter the upper half, so the two
        # never cross.
        card, longest = self.card(edge.source), self.grid.levels - 1 - edge.source.level
        rank = longest - (edge.target.level - edge.source.level)
        return card.center[1] - 0.06 - min(0.1, 0.26 / longest) * rank

    def _bow_end(self, edge: Edge) -> float:
        card, longest = self.card(edge.target), edge.target.level
        rank = edge.target.level - edge.source.level - 2
        return card.y1 - 0.07 - min(0.1, 0.26 / longest) * rank


def _port(card: Box, index: int, count: int) -> float:
    """Height of port ``index`` of ``count`` ports spread from the top down along a side."""
    spread = min(0.76 * card.height, 0.15 * (count - 1))
    return card.center[1] + spread * (0.5 - index / (count - 1) if count > 1 else 0.0)


def shortened(curve: Curve, length: float) -> tuple[Curve, Point]:
    """The curve cut short by an arrow head of ``length``, and the arrow's unit direction."""
    (x2, y2), (x3, y3) = curve[2], curve[3]
    size = ((x3 - x2) ** 2 + (y3 - y2) ** 2) ** 0.5
    direction = (x3 - x2) / size, (y3 - y2) / size
    step = direction[0] * length, direction[1] * length
    end = x3 - step[0], y3 - step[1]
    return (curve[0], curve[1], (x2 - step[0], y2 - step[1]), end), direction
