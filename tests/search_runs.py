"""Output folders of made-up searches, for the tests of what shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from search_space.grid import Grid
from search_space.operations import default_candidates
from uxnet_eval.runs.files import write_json
from uxnet_eval.runs.search_record import SearchRecord

FINAL = {"default": 0.81, "derived_dice": 0.7, "edges_kept": 9, "decided_gates": 0.5, "parameters": 1234}


def made_up_record(levels: int = 3, num_epochs: int = 4, seed: int = 0, **changes: Any) -> SearchRecord:
    """A record whose gates move from 0.5 to random values; ``changes`` replace its attributes."""
    random, grid = np.random.default_rng(seed), Grid(levels)
    goals = random.random(len(grid.edges))
    weights = {
        layer: random.dirichlet(np.ones(len(default_candidates(layer.kind, 3)))) for layer in grid.layers
    }
    history = []
    for epoch in range(num_epochs):
        share = epoch / max(1, num_epochs - 1)
        gates = {
            str(edge): float(0.5 + share * (goal - 0.5)) for edge, goal in zip(grid.edges, goals, strict=True)
        }
        alphas = {
            str(layer): dict(zip(default_candidates(layer.kind, 3), map(float, weights[layer]), strict=True))
            for layer in grid.layers
        }
        scores = {"default": 0.1 * (epoch + 1), "derived_dice": 0.05 * (epoch + 1)}
        losses = {"loss_weights": 1 / (epoch + 1), "loss_architecture": 2 / (epoch + 1)}
        history.append({"epoch": epoch, **scores, **losses, "gates": gates, "alphas": alphas})
    values: dict[str, Any] = {
        "levels": levels,
        "spatial_dims": 3,
        "gates": dict(history[-1]["gates"]),
        "alphas": dict(history[-1]["alphas"]),
        "scores": scores,
        "history": history,
        "provenance": {"dataset": "Made up", "seed": seed},
    }
    return SearchRecord(**(values | changes))


def made_up_run(folder: Path, *, finished: bool = True, **settings: Any) -> Path:
    """The output folder of such a search."""
    folder.mkdir(parents=True, exist_ok=True)
    made_up_record(**settings).save(folder)
    if finished:
        write_json(folder / "result.json", FINAL)
    return folder
