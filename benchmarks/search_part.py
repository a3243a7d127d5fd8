"""Measures the search step: all forms side by side, in interleaved rounds, at all sizes of the grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

from .cells import Cell, SearchGrid, Taken, growth, reason_to_skip
from .device import available_memory_bytes, load_average
from .dints_step import dints_step
from .isolation import ProcessDied, isolated
from .peak import matmul_peak
from .search_step import FORMS, search_step

MEMORY_SHARE = 0.85
"""Of the free memory that a cell may be expected to take."""
PRECISION = {"stock-float32": "float32"}
"""Of the forms that are not in bfloat16."""
Say = Callable[[str], None]


def measure(cell: Cell, grid: SearchGrid, num_threads: int, with_ledger: bool) -> dict[str, Any]:
    """One cell in a process of its own: ``timings``, ``memory_bytes`` and, if asked for, ``ledger``."""
    settings: dict[str, Any] = {
        "patch_size": (cell.patch,) * 3,
        "base_channels": cell.channels,
        "batch_size": grid.batch_size,
        "num_threads": num_threads,
        "with_ledger": with_ledger,
    }
    if cell.form == "dints":
        outcome = isolated(dints_step, num_depths=grid.levels - 1, **settings)
    else:
        outcome = isolated(search_step, cell.form, levels=grid.levels, num_edges=cell.num_edges, **settings)
    gpu = outcome.value["timings"]["peak_gpu_bytes"]
    return {
        **outcome.value,
        "memory_bytes": outcome.peak_memory_bytes if gpu is None else gpu,
        "start_memory_bytes": outcome.start_memory_bytes,
    }


def times_of(timings: Mapping[str, Any], num_threads: int) -> list[float]:
    """The times that count: with one thread on a CPU the processor time, which other programs disturb least."""
    by_processor = num_threads == 1 and timings["peak_gpu_bytes"] is None
    return timings["cpu_s" if by_processor else "wall_s"]


class SearchMeasurements:
    """What :meth:`rounds` measured is in :meth:`results`."""

    def __init__(self, grid: SearchGrid, num_threads: int, say: Say) -> None:
        self._grid, self._num_threads, self._say = grid, num_threads, say
        self._taken: dict[Cell, Taken] = {}
        self._wall: dict[Cell, list[float]] = {}
        self._spent: dict[Cell, float] = {}
        self._skipped: dict[Cell, str] = {}
        self._ledgers: dict[Cell, dict[str, Any]] = {}
        self._loads: list[float | None] = []
        self._peaks: list[dict[str, float]] = []

    def rounds(self) -> Iterator[None]:
        """Measures all cells in each round; after each cell there are :meth:`results`."""
        cells = self._grid.size_cells() + self._grid.edge_cells()
        for number in range(self._grid.rounds):
            self._peaks.append(isolated(matmul_peak, self._num_threads).value)
            self._loads.append(load_average())
            for cell in cells:
                if cell not in self._skipped:
                    self._run_cell(cell, first=number == 0)
                    yield

    def _run_cell(self, cell: Cell, first: bool) -> None:
        grid = self._grid
        if self._spent.get(cell, 0.0) > grid.cell_budget_s:
            return
        reason = reason_to_skip(cell, self._taken, MEMORY_SHARE * available_memory_bytes(), grid.step_limit_s)
        if reason is None:
            try:
                result = measure(cell, grid, self._num_threads, with_ledger=first and cell in grid.headline)
            except ProcessDied as error:
                reason = f"{error} (out of memory?)"
        if reason is not None:
            self._skipped[cell] = reason
            self._say(f"skipped {cell}: {reason}")
            return
        times = times_of(result["timings"], self._num_threads)
        taken = self._taken.setdefault(cell, Taken([], []))
        taken.time_s += times
        taken.memory_bytes.append(result["memory_bytes"])
        self._wall.setdefault(cell, []).extend(result["timings"]["wall_s"])
        self._spent[cell] = self._spent.get(cell, 0.0) + sum(times)
        if "ledger" in result:
            self._ledgers[cell] = result["ledger"]
        self._say(f"{cell}: {median(times):.2f} s, {result['memory_bytes'] / 2**30:.2f} GiB")

    def results(self) -> dict[str, Any]:
        """Everything measured, as JSON."""
        peak = {kind: max(p[kind] for p in self._peaks) for kind in ("float32", "bfloat16")}
        headline = self._headline(peak)
        return {
            "grid": self._grid.to_dict(),
            "time": "processor time" if self._num_threads == 1 else "wall time",
            "load_average": self._loads,
            "peak_multiply_adds_per_s": peak,
            "cells": [self._row(cell) for cell in self._cells()],
            "skipped": {str(cell): reason for cell, reason in self._skipped.items()},
            "headline": headline,
            "linearity": self._linearity(),
        }

    def _cells(self) -> list[Cell]:
        return sorted(self._taken, key=lambda cell: cell.place)

    def _row(self, cell: Cell) -> dict[str, Any]:
        taken = self._taken[cell]
        voxels = self._grid.batch_size * cell.patch**3
        return {
            "form": cell.form,
            "patch": cell.patch,
            "channels": cell.channels,
            "num_edges": cell.num_edges,
            "median_s": taken.median_s,
            "microseconds_per_voxel": 1e6 * taken.median_s / voxels,
            "memory_gib": max(taken.memory_bytes) / 2**30,
            "times_s": taken.time_s,
            "wall_s": self._wall[cell],
        }

    def _headline(self, peak: Mapping[str, float]) -> dict[str, Any]:
        """Of the forms at the headline's size: time, memory, ratios, share of the peak, where the time goes."""
        cells = [cell for cell in self._grid.headline if cell in self._taken]
        taken = {cell.form: self._taken[cell] for cell in cells}
        multiply_adds = {
            c.form: sum(self._ledgers[c]["multiply_adds"].values()) for c in cells if c in self._ledgers
        }
        forms = {}
        for cell in cells:
            form, own = cell.form, self._taken[cell]
            rate = peak[PRECISION.get(form, "bfloat16")]
            forms[form] = {
                "title": FORMS[form].title if form in FORMS else "MONAI DiNTS, bfloat16, channels-last",
                "median_s": own.median_s,
                "memory_gib": max(own.memory_bytes) / 2**30,
                "multiply_adds": multiply_adds[form],
                "share_of_peak": multiply_adds[form] / own.median_s / rate,
                "ledger": self._ledgers[cell],
            }
            if "plain" in multiply_adds and form == "folded":
                forms[form]["share_of_peak_by_plain_multiply_adds"] = (
                    multiply_adds["plain"] / own.median_s / rate
                )
        ratios = {}
        if "folded" in taken:
            folded = taken["folded"]
            for form, other in taken.items():
                if form != "folded":
                    ratios[form] = {
                        "times_faster": other.median_s / folded.median_s,
                        "memory_share": max(folded.memory_bytes) / max(other.memory_bytes),
                    }
        return {"forms": forms, "folded_against": ratios}

    def _linearity(self) -> dict[str, Any]:
        """Growth with voxels and with edges of each form: exponents, where 1 is linear."""
        grid, result = self._grid, {}
        for form in grid.forms:
            axis = [
                c for c in self._cells() if c.form == form and c.channels == grid.channels and not c.num_edges
            ]
            edges = [c for c in self._cells() if c.form == form and c.num_edges]
            result[form] = {
                name: growth(sizes, [self._taken[c].median_s for c in cells])
                for name, cells, sizes in (
                    ("voxels_exponent", axis, [c.patch**3 for c in axis]),
                    ("edges_exponent", edges, [c.num_edges or 0 for c in edges]),
                )
                if len(cells) > 1
            }
        return result
