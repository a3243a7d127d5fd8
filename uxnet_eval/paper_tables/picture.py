"""One of the paper's tables as a picture: published Dice and own Dice, side by side."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .published import DATA_TITLES
from .table import PaperTable

PAPER, OWN = "#0072b2", "#d55e00"
"""Colours of Okabe and Ito, told apart with any colour vision; the marks differ too."""
WIDTH_INCHES, ROW_INCHES, LEAST_INCHES, DPI = 11, 0.42, 3.2, 150


def table_picture(table: PaperTable) -> bytes:
    """A PNG: the published Dice on the left, the own Dice with its interval on the right.

    Each panel has its own axis: the figures are of other data, splits and trainings.
    """
    rows = table.rows
    figure = Figure(
        figsize=(WIDTH_INCHES, max(LEAST_INCHES, 1.4 + ROW_INCHES * len(rows))), layout="constrained"
    )
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    right.sharey(left)
    for place, row in enumerate(rows):
        percent = row.published.dice_percent.get(table.published_data)
        if percent is not None:
            _draw(left, place, percent, PAPER, "D")
        own = row.own
        if own is not None and own.dice.mean is not None:
            if own.interval is not None:
                ends = [100 * own.interval.low, 100 * own.interval.high]
                right.plot(ends, [place, place], color=OWN, linewidth=2)
            _draw(right, place, 100 * own.dice.mean, OWN, "o")
    left.set_yticks(range(len(rows)), [row.published.name for row in rows])
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set_xlabel(f"published: Dice %, {DATA_TITLES[table.published_data]}, other splits")
    right.set_xlabel(f"here: Dice % of {table.data_name}, 95 % interval")
    right.tick_params(axis="y", labelleft=False)
    for axes in (left, right):
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.15)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _draw(axes: Axes, place: int, percent: float, color: str, marker: str) -> None:
    axes.scatter([percent], [place], s=45, color=color, marker=marker, edgecolor="white", zorder=3)
    axes.annotate(
        f"{percent:.2f}", (percent, place), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8
    )
