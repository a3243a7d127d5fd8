"""What each contender may try: genotypes of one space and budget, or a network by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from search_space import Genotype, presets
from search_space.grid import Grid, Layer
from search_space.presets import default_operation, unet_pass_through
from strategies.settings import PAPER
from strategies.single_path.limits import Limits
from strategies.single_path.proposed import propose_best
from strategies.single_path.sampling import Sampler

from ..config.contest import ContestConfig
from ..config.search import BY_MEASUREMENT
from ..networks.latency_table import LatencyTable
from ..runs.front_record import FrontRecord
from ..runs.search_record import SearchRecord
from .shared_search import search_once

LEAST_SHARE = 0.85
"""Random architectures use at least this share of the budget, as those of the search do."""
PAPER_SPACE: dict[str, Any] = {
    "width_choices": (1.0,),
    "anchored_edges": False,
    "edge_scale": False,
    "pass_through": False,
}
"""The paper's space, without the extensions of this project."""
GRADIENT_SEARCHES: dict[str, dict[str, bool]] = {
    "gates": {},
    "perturbation": {},
    "paper": {},
    "paper-tau-0.60": {},
    "paper-tau-0.90": {},
    "paper-sbb": {"search_edges": False},
    "paper-mssa": {"search_blocks": False},
    "scnas": {"search_edges": False},
}
"""What the contenders with a differentiable search search: all, or operations or edges alone."""
EXTENDED_SPACE: dict[str, dict[str, Any]] = {
    "gates": {"alpha_schedule": "cosine", "beta_schedule": "cosine"},
    "perturbation": {
        "sparsity_weight": 0.0,
        "edge_weight": 0.0,
        "commit": False,
        "decide_by": "perturbation",
    },
}
"""Settings of the differentiable searches in the extended space, without its widths.

``gates`` takes this project's additions to the paper's method. ``perturbation`` prices no edge: the
gates stay open, and the supernet's Dice decides."""
GATE_THRESHOLDS = (0.75, 0.5, 0.9, 0.25)
"""Taus of the proposals of ``gates``; only the first trains in its last epochs."""
MEASURED_SEARCHES: dict[str, dict[str, dict[str, Any]]] = {
    "searched": {},
    "searched-unet-edges": {"space": {"search_edges": False}},
    "searched-widths": {"space": {"search_edges": False, "search_blocks": False}},
    "ronasmis": {
        "space": {"search_edges": False, "width_choices": (0.5, 0.75, 1.0, 1.5)},
        "search": {"strategy": "ronasmis"},
    },
}
"""Settings of the contenders that search by measurement, by section. RONASMIS searches the whole
network, widths included; table 2 of the paper says that it searches no aggregation. The others take
the strategy of the configuration if it measures networks, else ``single-path``."""
MAX_UNETS = 1000
"""Largest number of U-Nets of random widths that are drawn to find some within a limit."""
OF_THE_SPACE = ("searched", "searched-unet-edges", "searched-widths", "random", "unet-widths", "unet")
"""Contenders that can keep a limit of latency or activations: their networks are of the searched
space."""
PAPER_THRESHOLD = 0.75
"""tau of the paper's final network; its searches are the same for the taus below."""
PAPER_THRESHOLDS = {"paper-tau-0.60": 0.60, "paper-tau-0.90": 0.90}


@dataclass(frozen=True)
class Proposals:
    """Architectures to choose from.

    Attributes:
        architectures: genotypes, or the names of networks.
        search_folder: output folder of the search that they come from; None: there was no search.
    """

    architectures: list[Genotype | str]
    search_folder: Path | None = None


def propose(
    config: ContestConfig,
    folder: Path,
    limits: Limits,
    shared_folder: Path | None = None,
    table: LatencyTable | None = None,
) -> Proposals:
    """The contender's proposals, the most promising first.

    It runs or continues the contender's search, if any.

    Args:
        config: resolved.
        folder: output folder of the contest.
        limits: the budget, at the search's width.
        shared_folder: see :func:`.shared_search.search_once`.
        table: of latencies, if the contest limits them; else None.
    """
    contest, space = config.contest, limits.config
    name, number = contest.contender, contest.proposals
    if name in GRADIENT_SEARCHES:
        searched = search_once(config.search_config(_by_gradients(name)), folder, shared_folder)
        record = SearchRecord.load(searched)
        taus = GATE_THRESHOLDS if name == "gates" else (PAPER_THRESHOLDS.get(name),)
        pruned: list[Genotype | str] = [*dict.fromkeys(record.genotype(tau) for tau in taus)]
        return Proposals(pruned[:number], searched)
    if name in MEASURED_SEARCHES:
        budget = {
            "multiply_adds": limits.multiply_adds,
            "max_parameters": limits.parameters,
            "max_activations": limits.activations,
            "latency_ms": config.budget.latency_ms,
        }
        strategy = config.search.strategy if config.search.strategy in BY_MEASUREMENT else "single-path"
        changes = {"search": {"strategy": strategy}, **MEASURED_SEARCHES[name], "budget": budget}
        searched = search_once(config.search_config(changes), folder, shared_folder, table)
        candidates = FrontRecord.load(searched).candidates()
        measured_ms = {each.genotype: each.latency_ms or 0.0 for each in candidates}
        measured = replace(limits, latency=measured_ms.__getitem__, checked_latency=None)
        within = [each for each in candidates if measured.excess(each.genotype) == 0]
        return Proposals([*propose_best(within, number, least_difference=contest.least_difference)], searched)
    if name == "random":
        sampler = Sampler(space, config.choice.unet_share)
        return Proposals(
            [sampler.draw(Random(f"{contest.seed}/{index}"), limits.excess) for index in range(number)]
        )
    if name == "unet-widths":
        draws = (_unet(config, contest.seed, index) for index in range(MAX_UNETS))
        kept = (each for each in draws if not config.budget.limits_time or limits.excess(each) == 0)
        return Proposals([*islice(dict.fromkeys(kept), number)])
    if name == "all-edges":
        return Proposals([_all_edges(space.levels, is_scaled=space.edge_scale)])
    if name in presets.names():
        return Proposals([presets.get(name, space.levels)])
    return Proposals([name])


def _by_gradients(name: str) -> dict[str, dict[str, Any]]:
    """Settings of a search of ``GRADIENT_SEARCHES``; another tau needs no other search."""
    if name in EXTENDED_SPACE:
        return {
            "space": {"width_choices": (1.0,)},
            "search": {"strategy": "sparse-darts", **EXTENDED_SPACE[name]},
        }
    paper = {"strategy": "sparse-darts", **PAPER, "prune_threshold": PAPER_THRESHOLD}
    search = {"strategy": name} if name == "scnas" else paper
    return {"space": {**PAPER_SPACE, **GRADIENT_SEARCHES[name]}, "search": search}


def _unet(config: ContestConfig, seed: int, index: int) -> Genotype:
    """The U-Net with widths drawn from those of the space; the first is the U-Net itself."""
    levels, choices = config.plan.levels, config.space.width_choices
    random, unet = Random(f"{seed}/{index}"), presets.get("unet", levels)
    widths = [1.0] * levels if index == 0 else [random.choice(choices) for _ in range(levels)]
    return Genotype.from_choices(levels, unet.edges, unet.operations, widths=widths)


def _all_edges(levels: int, *, is_scaled: bool) -> Genotype:
    """Every edge of the grid, the U-Net's operations, and identity in pass-through nodes."""
    operations = {layer: default_operation(layer) for layer in Grid(levels).layers}
    operations |= {Layer(node, "normal"): "identity" for node in unet_pass_through(levels)}
    return Genotype.from_choices(levels, Grid(levels).edges, operations, edge_scale=is_scaled)
