"""The front of a search as a table and as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Protocol

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from strategies.single_path.effects import Effect

from ..runs.front_record import FrontRecord, Measured

FRONT, OTHER = "#0072b2", "#999999"
"""Colours of Okabe and Ito."""
DPI = 150


def front_table(record: FrontRecord) -> Table:
    """One row for each network of the front, cheapest first."""
    front = record.front()
    is_timed = any(candidate.latency_ms is not None for candidate in front)
    table = Table()
    for name in ("multiply-adds", "parameters", *["ms per patch"] * is_timed, "edges", "widths", "Dice"):
        table.add_column(name, justify="left" if name == "widths" else "right")
    for candidate in front:
        genotype, latency = candidate.genotype, candidate.latency_ms
        table.add_row(
            f"{candidate.cost.multiply_adds / 1e9:.3f} G",
            f"{candidate.cost.parameters:,}",
            *["-" if latency is None else f"{latency:.1f}"] * is_timed,
            str(len(genotype.edges)),
            " ".join(f"{width:g}" for width in genotype.widths or ()) or "1 everywhere",
            f"{candidate.dice:.4f}",
        )
    return table


class Trained(Protocol):
    """A network of the search that was trained too.

    See :class:`uxnet_eval.comparison.trained_front.TrainedNetwork`.
    """

    @property
    def measured(self) -> Measured: ...

    @property
    def dice(self) -> float: ...

    @property
    def num_trainings(self) -> int: ...


def trained_table(networks: Sequence[Trained]) -> Table:
    """One row for each network with trainings, in the given order."""
    table = Table()
    for name in (
        "multiply-adds",
        "parameters",
        "inherited Dice",
        "finetuned Dice",
        "trained Dice",
        "trainings",
    ):
        table.add_column(name, justify="right")
    for network in networks:
        measured = network.measured
        table.add_row(
            f"{measured.multiply_adds / 1e9:.3f} G",
            f"{measured.parameters:,}",
            *(
                "-" if dice is None else f"{dice:.4f}"
                for dice in (measured.inherited_dice, measured.finetuned_dice)
            ),
            f"{network.dice:.4f}",
            str(network.num_trainings),
        )
    return table


def effects_table(effects: Sequence[Effect]) -> Table:
    """One row for each choice, in the given order."""
    table = Table()
    for name in ("choice", "correlation with Dice", "95 %"):
        table.add_column(name, justify="left" if name == "choice" else "right")
    for each in effects:
        table.add_row(each.choice, f"{each.correlation:+.2f}", f"{each.low:+.2f} to {each.high:+.2f}")
    return table


def front_picture(record: FrontRecord) -> bytes:
    """A PNG: Dice against multiply-adds of all finalists, and the front as a line."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    candidates, best = record.candidates(), record.front()
    axes.scatter(
        [each.cost.multiply_adds / 1e9 for each in candidates],
        [each.dice for each in candidates],
        s=18,
        color=OTHER,
        label="measured",
    )
    axes.plot(
        [each.cost.multiply_adds / 1e9 for each in best],
        [each.dice for each in best],
        color=FRONT,
        marker="D",
        label="front",
    )
    axes.set_xlabel("multiply-adds of one patch (billions)")
    axes.set_ylabel(record.measure)
    axes.set_title("" if record.is_finished else "so far: the search is not finished", fontsize=10)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()
