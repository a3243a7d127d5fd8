"""Which measurements are taken, in which order, and which are left out because they do not fit.

A cell is one configuration at one size. Small ones come first and tell what the large ones will take: time and memory
grow linearly with the voxels, time at most with the square of the channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

FORMS = ("stock-float32", "stock-bfloat16", "plain", "folded", "dints")
"""In the order in which they are shown."""


@dataclass(frozen=True)
class Cell:
    """One configuration of the search step at one size."""

    form: str
    patch: int
    """Voxels along each of three axes."""
    channels: int
    """Base channels."""
    num_edges: int | None = None
    """Of the supernet; None: all."""

    @property
    def place(self) -> tuple[int, ...]:
        """In the order of tables."""
        return FORMS.index(self.form), self.num_edges or 0, self.patch, self.channels

    def __str__(self) -> str:
        edges = "" if self.num_edges is None else f", {self.num_edges} edges"
        return f"{self.form} at {self.patch}^3, {self.channels} channels{edges}"


@dataclass(frozen=True)
class SearchGrid:
    """The sizes of the search step's part; the defaults are those of the committed results."""

    levels: int = 5
    batch_size: int = 2
    patches: tuple[int, ...] = (32, 48, 64, 96)
    """At :attr:`channels` base channels."""
    channels: int = 16
    headline_patch: int = 64
    widths: tuple[int, ...] = (8, 16, 32)
    """Base channels at :attr:`width_patch`."""
    width_patch: int = 32
    edges: tuple[int, ...] = (24, 32, 41, 50)
    """Numbers of edges, at :attr:`width_patch` and :attr:`channels`; 24 are the fewest that reach every layer."""
    edge_forms: tuple[str, ...] = ("plain", "folded")
    rounds: int = 2
    cell_budget_s: float = 30.0
    """No further round for a cell that has taken so long already."""
    step_limit_s: float = 120.0
    """A cell whose step would take longer is left out."""
    forms: tuple[str, ...] = FORMS

    @property
    def headline(self) -> list[Cell]:
        return [Cell(form, self.headline_patch, self.channels) for form in self.forms]

    def size_cells(self) -> list[Cell]:
        """Patch axis and channel axis, small sizes first, all forms of a size after one another."""
        sizes = {(patch, self.channels) for patch in self.patches} | {
            (self.width_patch, width) for width in self.widths
        }
        ordered = sorted(sizes, key=lambda size: size[0] ** 3 * size[1] ** 2)
        return [Cell(form, patch, channels) for patch, channels in ordered for form in self.forms]

    def edge_cells(self) -> list[Cell]:
        return [
            Cell(form, self.width_patch, self.channels, num_edges)
            for num_edges in self.edges
            for form in self.edge_forms
        ]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


QUICK_GRID = SearchGrid(
    levels=3,
    batch_size=1,
    patches=(16, 24),
    channels=4,
    headline_patch=16,
    widths=(2, 4),
    width_patch=16,
    edges=(8, 11),
    rounds=1,
)
"""Every part in seconds, for a look at whether it works; its figures mean nothing."""


@dataclass
class Taken:
    """What the runs of one cell took."""

    time_s: list[float]
    """Of each step."""
    memory_bytes: list[int]
    """The peak of each process."""

    @property
    def median_s(self) -> float:
        return median(self.time_s)


def reason_to_skip(
    cell: Cell, taken: Mapping[Cell, Taken], available_bytes: float, step_limit_s: float
) -> str | None:
    """Why a cell is left out in words, judged by what its form took at other sizes; None: it is not.

    Args:
        cell: the next one.
        taken: of the cells so far.
        available_bytes: of memory.
        step_limit_s: the longest step that is waited for.
    """
    known = [other for other in taken if other.form == cell.form]
    if cell in taken or not known:
        return None
    # The same width tells most; else the largest.
    known = [other for other in known if other.channels == cell.channels] or known
    known.sort(key=lambda other: other.patch**3 * other.channels**2)
    nearest = known[-1]
    voxels, width = (cell.patch / nearest.patch) ** 3, cell.channels / nearest.channels
    seconds = taken[nearest].median_s * voxels * (width**2 if width > 1 else width)
    if seconds > step_limit_s:
        return (
            f"a step would take about {seconds:.0f} s, more than the {step_limit_s:.0f} s that are waited for"
        )
    memory = max(taken[nearest].memory_bytes) * width
    per_voxel = memory / nearest.patch**3
    smaller = [other for other in known if other.channels == nearest.channels and other.patch < nearest.patch]
    if smaller:  # two sizes tell the part of the feature maps from that of the weights, which does not grow
        other = smaller[-1]
        difference = max(taken[nearest].memory_bytes) - max(taken[other].memory_bytes)
        per_voxel = max(0.0, difference * width / (nearest.patch**3 - other.patch**3))
    memory += per_voxel * (cell.patch**3 - nearest.patch**3)
    if memory > available_bytes:
        return f"it would take about {memory / 2**30:.0f} GiB of memory; {available_bytes / 2**30:.0f} GiB are free"
    return None


def growth(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The exponent p of times ~ sizes^p by least squares of the logarithms: 1 is linear.

    Args:
        sizes, times: positive, two at least.
    """
    x, y = [math.log(size) for size in sizes], [math.log(time) for time in times]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)
