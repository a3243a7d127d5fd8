"""What each contender may try: genotypes of one space and budget, or a network by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from search_space import Genotype, presets
from search_space.grid import Grid, Layer
from search_space.presets import default_operation, unet_pass_through
from strategies.settings import PAPER
from strategies.single_path.limits import Limits
from strategies.single_path.sampling import Sampler

from ..config.contest import ContestConfig
from ..runs.files import write_text
from ..runs.front_record import FrontRecord
from ..runs.names import GENOTYPE_NAME
from ..search.run import run_search

LEAST_SHARE = 0.85
"""Random architectures use at least this share of the budget, as those of the search do."""


@dataclass(frozen=True)
class Proposals:
    """Architectures to choose from.

    Attributes:
        architectures: genotypes, or the names of networks.
        search_folder: output folder of the search that they come from; None: there was no search.
    """

    architectures: list[Genotype | str]
    search_folder: Path | None = None


def propose(config: ContestConfig, folder: Path, limits: Limits) -> Proposals:
    """The contender's proposals, the most promising first.

    It runs or continues the contender's search, if any.

    Args:
        config: resolved.
        folder: output folder of the contest.
        limits: the budget, at the search's width.
    """
    contest, space = config.contest, limits.config
    name, number = contest.contender, contest.proposals
    if name in ("searched", "searched-unet-edges"):
        changes: dict[str, dict[str, Any]] = {
            "search": {"strategy": "single-path"},
            "budget": {"multiply_adds": limits.multiply_adds, "max_parameters": limits.parameters},
        }
        if name == "searched-unet-edges":
            changes["space"] = {"search_edges": False}
        searched = _search(config, folder, changes)
        record = FrontRecord.load(searched)
        within = [each for each in record.candidates() if limits.excess(each.genotype) == 0]
        ranked = sorted(within, key=lambda each: -each.dice)
        return Proposals([each.genotype for each in ranked[:number]], searched)
    if name == "paper":
        paper = {
            "space": {
                "width_choices": (1.0,),
                "anchored_edges": False,
                "edge_scale": False,
                "pass_through": False,
            },
            "search": {"strategy": "sparse-darts", **PAPER},
        }
        searched = _search(config, folder, paper)
        return Proposals([Genotype.load(searched / GENOTYPE_NAME)], searched)
    if name == "random":
        sampler = Sampler(space)
        return Proposals(
            [sampler.draw(Random(f"{contest.seed}/{index}"), limits.excess) for index in range(number)]
        )
    if name == "unet-widths":
        return Proposals([_unet(config, contest.seed, index) for index in range(number)])
    if name == "unet":
        return Proposals([presets.get("unet", space.levels)])
    if name == "all-edges":
        return Proposals([_all_edges(space.levels, is_scaled=space.edge_scale)])
    return Proposals([name])


def _search(config: ContestConfig, folder: Path, changes: dict[str, dict[str, Any]]) -> Path:
    path = folder / "search.run.yml"
    write_text(path, config.search_config(changes).to_yaml())
    return run_search(path, output=folder / "search")


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
