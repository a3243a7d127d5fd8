"""The front of a search by measurement, as the report shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_space.errors import UserError

from ..runs.front_record import FrontRecord


def read_front(folder: Path, name: str, notes: list[str]) -> dict[str, Any] | None:
    """The measured networks of a search in plain values; None if its record is unreadable.

    A note then says why.

    Args:
        folder: output folder of the search; it holds ``front.json``.
        name: of the run.
        notes: takes what is missing or damaged, a line each.
    """
    try:
        record = FrontRecord.load(folder)
    except UserError as error:
        notes.append(f"{name}: {error}")
        return None
    if not record.measured:
        notes.append(f"{name}: no network has been measured yet")
        return None
    candidates = record.candidates()
    if not candidates:
        notes.append(f"{name}: no measured network keeps the limit of latency yet")
        candidates = record.candidates(keep_latency=False)
    best = {(each.cost, each.dice) for each in record.front()}
    points = [
        {
            "multiplyAdds": each.cost.multiply_adds,
            "parameters": each.cost.parameters,
            "dice": each.dice,
            "latencyMs": each.latency_ms,
            "edges": len(each.genotype.edges),
            "widths": " ".join(f"{width:g}" for width in each.genotype.widths or ()),
            "isBest": (each.cost, each.dice) in best,
        }
        for each in sorted(candidates, key=lambda candidate: candidate.cost.multiply_adds)
    ]
    return {
        "name": name,
        "isFinished": record.is_finished,
        "measure": record.measure,
        "points": points,
    }
