"""The front of a search by measurement, as the report shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_space.errors import UserError
from search_space.reading import read_yaml
from strategies.single_path.effects import LEAST_NETWORKS

from ..runs.front_record import FrontRecord
from ..runs.names import CONFIG_NAME

RANDOM_FIRST = ("single-path", "evolution", "regression")
"""Strategies whose first ``choice.population`` networks are random."""


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
        "effects": _effects(folder, record),
    }


def _effects(folder: Path, record: FrontRecord) -> list[dict[str, Any]]:
    """How the Dice of the search's random networks depends on their choices.

    Empty if they are too few, or if it is not known which ones are random.
    """
    try:
        settings = read_yaml(folder / CONFIG_NAME)
        strategy, population = settings["search"]["strategy"], settings["choice"]["population"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    measured = sum(each.budget_share == record.measured[0].budget_share for each in record.measured)
    number = {"random": measured, **dict.fromkeys(RANDOM_FIRST, min(population, measured))}.get(strategy, 0)
    if number < LEAST_NETWORKS:
        return []
    return [{**each._asdict(), "networks": number} for each in record.effects(number)]
