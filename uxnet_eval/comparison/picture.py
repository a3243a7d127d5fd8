"""A comparison as a picture: Dice of every case, mean, differences from the first row, cost."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .row import Row
from .table import Comparison

POINT, FIRST, OTHER = "#999999", "#0072b2", "#d55e00"
"""Colours of Okabe and Ito, told apart with any colour vision; the first row's mark has another
shape too."""
WIDTH_INCHES, ROW_INCHES, LEAST_INCHES, DPI = 14, 0.42, 3.2, 150
LOGARITHMIC_FROM = 4
"""Multiply-adds that differ by this factor or more stand on a logarithmic axis."""


def comparison_picture(comparison: Comparison) -> bytes:
    """A PNG: Dice of each case, difference from the first row, Dice against multiply-adds.

    The intervals are those of the table. In the panel of the cost, a number stands for a row.
    """
    rows = comparison.rows
    height = max(LEAST_INCHES, 1.4 + ROW_INCHES * len(rows))
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    FigureCanvasAgg(figure)
    scores, differences, costs = figure.subplots(1, 3, width_ratios=(3, 2, 2))
    differences.sharey(scores)
    for place, row in enumerate(rows):
        _draw_scores(scores, place, row)
        _draw_difference(differences, place, row)
        _draw_cost(costs, place, row)
    scores.set_yticks(range(len(rows)), [f"{row.name}  {place + 1}" for place, row in enumerate(rows)])
    scores.set_ylim(len(rows) - 0.5, -0.5)
    scores.set_xlabel("Dice: a point for each case, a mark for the mean")
    differences.axvline(0, color=FIRST, linewidth=1)
    differences.set_xlabel(f"difference from {rows[0].name}, 95 % interval")
    differences.tick_params(axis="y", labelleft=False)
    differences.locator_params(axis="x", nbins=5)
    for axes in (scores, differences):
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    costs.grid(color="#dddddd", linewidth=0.6)
    costs.set_xlabel("multiply-adds (G) of one patch")
    costs.set_ylabel("Dice, 95 % interval")
    multiply_adds = [row.multiply_adds for row in rows]
    if max(multiply_adds) >= LOGARITHMIC_FROM * min(multiply_adds):
        costs.set_xscale("log")
    for axes in (scores, differences, costs):
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _mark(place: int) -> tuple[str, str]:
    """Colour and marker of a row."""
    return (FIRST, "D") if place == 0 else (OTHER, "o")


def _draw_scores(axes: Axes, place: int, row: Row) -> None:
    values = row.case_dice.dropna().to_numpy()
    heights = place + np.random.default_rng(0).uniform(
        -0.25, 0.25, len(values)
    )  # so that points do not hide others
    axes.scatter(values, heights, s=7, color=POINT, alpha=0.6, linewidths=0)
    if row.dice.mean is not None:
        color, marker = _mark(place)
        axes.scatter([row.dice.mean], [place], s=55, color=color, marker=marker, edgecolor="white", zorder=3)
        axes.annotate(
            f"{row.dice.mean:.3f}",
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )


def _draw_difference(axes: Axes, place: int, row: Row) -> None:
    against = row.contrast
    if against is None or against.difference is None:
        return
    if against.interval is not None:
        low, high = against.interval.low, against.interval.high
        axes.plot([low, high], [place, place], color=OTHER, linewidth=2)
    axes.scatter([against.difference], [place], s=40, color=OTHER, edgecolor="white", zorder=3)


def _draw_cost(axes: Axes, place: int, row: Row) -> None:
    if row.dice.mean is None:
        return
    color, marker = _mark(place)
    giga = row.multiply_adds / 1e9
    if row.interval is not None:
        axes.plot([giga, giga], [row.interval.low, row.interval.high], color=color, linewidth=1, alpha=0.6)
    axes.scatter([giga], [row.dice.mean], s=40, color=color, marker=marker, edgecolor="white", zorder=3)
    axes.annotate(
        str(place + 1), (giga, row.dice.mean), xytext=(5, 3), textcoords="offset points", fontsize=8
    )
