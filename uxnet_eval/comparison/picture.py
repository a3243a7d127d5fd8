"""A comparison as one picture: every case's Dice, the mean, and its difference from the first row."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import bootstrap

from .table import Comparison, Row

POINT, FIRST, OTHER = "#999999", "#0072b2", "#d55e00"
"""Colours of Okabe and Ito, told apart with any colour vision; the first row's mark has another shape too."""
ROW_INCHES, DPI = 0.42, 150
NUM_RESAMPLES = 2000


def comparison_picture(comparison: Comparison) -> bytes:
    """A PNG: left each case's Dice with the mean, right the mean difference from the first row with its interval.

    The interval is the 95 % percentile bootstrap over the cases, with a fixed seed.
    """
    rows = comparison.rows
    figure = Figure(figsize=(10, 1.4 + ROW_INCHES * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    scores, differences = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for place, row in enumerate(rows):
        _draw_scores(scores, place, row, is_first=place == 0)
        if place:
            _draw_difference(differences, place, rows[0], row)
    scores.set_yticks(range(len(rows)), [row.name for row in rows])
    scores.set_ylim(len(rows) - 0.5, -0.5)
    scores.set_xlabel("Dice: a point for each case, a mark for the mean")
    differences.axvline(0, color=FIRST, linewidth=1)
    differences.set_xlabel(f"difference from {rows[0].name}, 95 % interval")
    for axes in (scores, differences):
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _draw_scores(axes: Axes, place: int, row: Row, is_first: bool) -> None:
    values = row.case_dice.dropna().to_numpy()
    heights = place + np.random.default_rng(0).uniform(
        -0.25, 0.25, len(values)
    )  # so that points do not hide others
    axes.scatter(values, heights, s=7, color=POINT, alpha=0.6, linewidths=0)
    if row.dice.mean is not None:
        color, marker = (FIRST, "D") if is_first else (OTHER, "o")
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


def _draw_difference(axes: Axes, place: int, first: Row, row: Row) -> None:
    values = (row.case_dice - first.case_dice).dropna().to_numpy()
    if not len(values):
        return
    middle = float(values.mean())
    if len(values) > 1 and values.std() > 0:
        interval = bootstrap(
            (values,),
            np.mean,
            n_resamples=NUM_RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        axes.plot([interval.low, interval.high], [place, place], color=OTHER, linewidth=2)
    axes.scatter([middle], [place], s=40, color=OTHER, edgecolor="white", zorder=3)
