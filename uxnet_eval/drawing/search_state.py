"""The drawing of a search: its supernet's gates and operations at one of its validations."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.figure import Figure

from search_space.errors import UserError
from search_space.genotype import parse_layer
from search_space.grid import Edge, Grid

from ..runs.search_record import SearchRecord
from .figure import check_suffix, draw, save


def draw_search(
    record: SearchRecord,
    *,
    epoch: int | None = None,
    prune_threshold: float | None = None,
    title: str | None = None,
    dpi: float = 110,
) -> Figure:
    """The drawing of a supernet's state, with what would be derived from it.

    Args:
        record: of the search; edges and operations that were not searched are drawn as fixed.
        epoch: counted from 1; None: the newest validation.
        prune_threshold: tau, in 0..1; None: that of the search.
        title: one line; None: the epoch.
        dpi: pixels per inch.

    Raises:
        UserError: if nothing was recorded at this epoch, naming the epochs at which something was.
    """
    grid = Grid(record.levels)
    recorded = {entry["epoch"] + 1: entry for entry in record.history}
    if not recorded:
        raise UserError("drawing: this search has not validated yet; let it run on")
    epoch = max(recorded) if epoch is None else epoch
    if epoch not in recorded:
        known = ", ".join(map(str, sorted(recorded)))
        raise UserError(f"drawing: nothing was recorded at epoch {epoch}; choose one of {known}")
    gates = dict.fromkeys(grid.edges, 0.0)
    gates |= {Edge.parse(name): gate for name, gate in recorded[epoch]["gates"].items()}
    gates |= {Edge.parse(name): 1.0 for name in record.fixed_edges}
    alphas = {parse_layer(name): weights for name, weights in recorded[epoch]["alphas"].items()}
    alphas |= {parse_layer(name): {operation: 1.0} for name, operation in record.fixed_operations.items()}
    return draw(
        grid=grid,
        gates=gates,
        alphas=alphas,
        prune_threshold=record.prune_threshold if prune_threshold is None else prune_threshold,
        spatial_dims=record.spatial_dims,
        title=f"epoch {epoch}" if title is None else title,
        dpi=dpi,
    )


def draw_search_folder(
    folder: str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    *,
    epoch: int | None = None,
    prune_threshold: float | None = None,
    dpi: float = 110,
) -> None:
    """Draws the search in an output folder, finished or not, to a PNG or SVG file.

    See :func:`draw_search`.

    Raises:
        UserError: if the folder holds no search that can be read, or the drawing cannot be written.
    """
    check_suffix(out_path)
    save(
        draw_search(SearchRecord.load(folder), epoch=epoch, prune_threshold=prune_threshold, dpi=dpi),
        Path(out_path),
    )
