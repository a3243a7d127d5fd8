"""The results as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .cells import FORMS
from .ledger import KINDS

COLOURS = dict(zip(FORMS, ("#7f7f7f", "#1f77b4", "#ff7f0e", "#d62728", "#2ca02c"), strict=True))


def draw(results: Mapping[str, Any]) -> bytes:
    """A PNG: time and memory against patch size and base channels, where the time goes, edges, fixed networks."""
    figure = Figure(figsize=(19, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 4)
    machine = results["machine"]
    figure.suptitle(
        f"Search step (architecture and weights) on {machine['processor']}, {machine['device']}, "
        f"{machine['num_threads']} thread(s), torch {machine['versions']['torch']}"
    )
    search = results.get("search")
    if search:
        grid = search["grid"]
        patches = lambda row: row["channels"] == grid["channels"]  # noqa: E731
        widths = lambda row: row["patch"] == grid["width_patch"]  # noqa: E731
        for axis, wanted, x, y, label in (
            (axes[0, 0], patches, "patch", "median_s", "time of a step (s)"),
            (axes[0, 1], widths, "channels", "median_s", "time of a step (s)"),
            (axes[1, 0], patches, "patch", "memory_gib", "peak memory (GiB)"),
            (axes[1, 1], widths, "channels", "memory_gib", "peak memory (GiB)"),
        ):
            _lines(axis, [r for r in search["cells"] if not r["num_edges"] and wanted(r)], x, y)
            axis.set_xlabel({"patch": "patch size (voxels per axis)", "channels": "base channels"}[x])
            axis.set_ylabel(label)
            fixed = f"{grid['channels']} base channels" if x == "patch" else f"{grid['width_patch']}^3 voxels"
            axis.set_title(f"{fixed}, batch {grid['batch_size']}")
        _bars(axes[0, 2], search["headline"]["forms"])
        _lines(
            axes[1, 2],
            [r for r in search["cells"] if r["num_edges"]],
            "num_edges",
            "median_s",
            logarithmic=False,
        )
        axes[1, 2].set_xlabel("edges of the supernet")
        axes[1, 2].set_ylabel("time of a step (s)")
        axes[1, 2].set_title(f"{grid['channels']} base channels, {grid['width_patch']}^3 voxels")
        axes[1, 2].set_ylim(bottom=0)
    for axis, what in zip(axes[:, 3], ("training step", "prediction"), strict=True):
        rows = [row for row in results.get("networks", {"rows": []})["rows"] if row["what"] == what]
        axis.bar([row["network"] for row in rows], [row["median_s"] for row in rows], color="#1f77b4")
        axis.set_ylabel("time (s)")
        axis.set_title(f"fixed networks: {what}")
    for axis in axes.flat:
        axis.set_visible(axis.has_data())
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90)
    return content.getvalue()


def _lines(axis: Any, rows: list[Any], x: str, y: str, logarithmic: bool = True) -> None:
    for form in FORMS:
        own = sorted((row[x], row[y]) for row in rows if row["form"] == form)
        if own:
            axis.plot(*zip(*own, strict=True), marker="o", label=form, color=COLOURS[form])
    if logarithmic and rows:
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        sizes = sorted({row[x] for row in rows})
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
    axis.grid(alpha=0.3)
    if rows:
        axis.legend(fontsize=8)


def _bars(axis: Any, forms: Mapping[str, Any]) -> None:
    """Stacked: the headline's time by kind."""
    bottoms = [0.0] * len(forms)
    colours = [f"C{index}" for index in range(10)] + ["#dddddd"]
    for kind, colour in zip(KINDS, colours, strict=True):
        heights = [
            row["median_s"] * row["ledger"]["seconds"][kind] / sum(row["ledger"]["seconds"].values())
            for row in forms.values()
        ]
        axis.bar(list(forms), heights, bottom=bottoms, label=kind, color=colour)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axis.set_ylabel("time of a step (s)")
    axis.set_title("where the time goes")
    axis.tick_params(axis="x", labelrotation=20)
    if forms:
        axis.legend(fontsize=7)
