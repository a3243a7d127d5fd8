"""The generated task of a search that must find the coarsest level."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks import planted_edge
from search_space import Genotype, presets
from search_space.grid import Node


def accuracy(sigma: float) -> float:
    """Share of pixels that the sign of a Gaussian mean of width ``sigma`` classifies right."""
    shares = []
    for index in range(20):
        image, label = planted_edge.draw(np.random.default_rng([1, index]))
        shares.append(((gaussian_filter(image, sigma) > 0) == label).mean())
    return float(np.mean(shares))


def test_only_a_mean_over_a_large_region_tells_the_sides_apart() -> None:
    assert accuracy(1) < 0.65 < accuracy(3) < accuracy(8)
    assert accuracy(8) > 0.8


def test_who_uses_the_coarsest_level() -> None:
    unet = presets.get("unet", 3)
    assert planted_edge.uses_coarsest(unet)
    finer = [edge for edge in unet.edges if Node(0, 2) not in (edge.source, edge.target)]
    assert not planted_edge.uses_coarsest(Genotype.from_choices(3, finer, unet.operations))


def test_the_committed_searches_found_it() -> None:
    path = Path(planted_edge.__file__).with_name("results") / "planted-edge.json"
    result = json.loads(path.read_text())
    assert len(result["searches"]) == 10
    assert sum(each["found"] for each in result["searches"]) >= 9
    assert result["random_share"] < 0.5 and result["null_share"] < 0.5
    assert all(each["mean_dice_with"] > each["mean_dice_without"] for each in result["searches"])
