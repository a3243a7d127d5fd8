"""Controls of a search: networks of the same space that show which part of a search was worth it.

All are derived from the searched genotype alone, without tensors:

- ``searched``: the genotype itself.
- ``all-edges``: every edge of the grid, the searched operations.
- ``searched-edges``: the searched edges, the U-Net's operations.
- ``searched-operations``: the U-Net's edges, the searched operations.
- ``random:SEED``: as many edges as the searched genotype, drawn by chance, and operations drawn by chance.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from random import Random
from typing import Any

from search_space import Genotype
from search_space.errors import UserError
from search_space.genotype import parse_layer
from search_space.grid import Edge, Grid, Layer, live_edges
from search_space.operations import default_candidates
from search_space.presets import default_operation, unet_edges, unet_pass_through

logger = logging.getLogger(__name__)

SEARCHED = "searched"
RANDOM_PREFIX = "random:"
CONTROLS = {
    SEARCHED: "the genotype that 'genotype' names",
    "all-edges": "every edge of the grid, the searched operations",
    "searched-edges": "the searched edges, the U-Net's operations",
    "searched-operations": "the U-Net's edges, the searched operations",
    RANDOM_PREFIX + "SEED": "a random genotype with as many edges as the searched one",
}
UNET = "unet"
"""Under "operations" or "edges" of a genotype's provenance: these are the U-Net's, whatever was searched."""
MAX_DRAWS = 100_000


def is_control(name: str) -> bool:
    """Whether ``name`` is one of these words; ``random:`` must be followed by a whole number.

    Raises:
        UserError: for ``random:`` and anything but a whole number that is not negative.
    """
    if name.startswith(RANDOM_PREFIX):
        if not name.removeprefix(RANDOM_PREFIX).isdecimal():
            raise UserError(f"architecture '{name}': expected random: and a seed, such as random:0")
        return True
    return name in CONTROLS


def control_genotype(name: str, searched: Genotype, spatial_dims: int) -> Genotype:
    """The control ``name`` of a searched genotype.

    Args:
        name: see :func:`is_control`.
        searched: the genotype. Its provenance says which candidates were searched, and the weights of layers that
            it does not use; without them the default candidates and the U-Net's operations are taken.
        spatial_dims: of the data; the default candidates depend on it.
    """
    if name == SEARCHED:
        return searched
    if name.startswith(RANDOM_PREFIX):
        return random_genotype(searched, int(name.removeprefix(RANDOM_PREFIX)), spatial_dims)
    provenance = {"control": name}
    if name == "searched-edges":
        return with_unet_operations(searched, provenance)
    if name == "searched-operations":
        return with_unet_edges(searched, provenance)
    edges = Grid(searched.levels).edges
    return Genotype.from_choices(searched.levels, edges, searched_operations(searched, edges), provenance)


def with_unet_operations(searched: Genotype, provenance: dict[str, Any] | None = None) -> Genotype:
    """The searched edges with the U-Net's operations; what only hands a skip on stays.

    Args:
        searched: the genotype.
        provenance: None: that of the genotype, with a word on its operations.
    """
    if provenance is None:
        provenance = {**searched.provenance, "operations": UNET}
    operations = {
        layer: name if name == "identity" else default_operation(layer)
        for layer, name in searched.operations.items()
    }
    return Genotype.from_choices(searched.levels, searched.edges, operations, provenance)


def with_unet_edges(searched: Genotype, provenance: dict[str, Any] | None = None) -> Genotype:
    """The U-Net's edges with the searched operations; nodes that in the U-Net only hand a skip on do so here.

    Args:
        searched: the genotype.
        provenance: None: that of the genotype, with a word on its edges.
    """
    if provenance is None:
        provenance = {**searched.provenance, "edges": UNET}
    levels, edges, handed_on = searched.levels, unet_edges(searched.levels), _handed_on(searched.levels)
    operations = searched_operations(searched, edges, handed_on) | handed_on
    return Genotype.from_choices(levels, edges, operations, provenance)


def searched_operations(
    searched: Genotype, edges: Collection[Edge], besides: Collection[Layer] = ()
) -> dict[Layer, str]:
    """The operation that the search prefers for every layer that ``edges`` need ``besides`` those given.

    Of a removed layer, or one that only hands a skip on, it is the one with the largest weight in the genotype's
    provenance; if that says nothing, the U-Net's, with a warning that names the layers.
    """
    weights = searched.provenance.get("alphas") if _space(searched).get("search_blocks", True) else None
    known = {
        parse_layer(layer): max(row, key=row.__getitem__) for layer, row in (weights or {}).items() if row
    }
    known |= {layer: name for layer, name in searched.operations.items() if name != "identity"}
    expanded = {edge.target for edge in edges if edge.is_coarse}
    layers = [
        layer
        for layer in searched.grid.layers
        if (layer.kind != "expansion" or layer.node in expanded) and layer not in besides
    ]
    missing = [layer for layer in layers if layer not in known]
    if missing and _space(searched).get("search_blocks", True):
        logger.warning(
            "the genotype does not say what was found for %s; the U-Net's operation is taken there",
            ", ".join(map(str, missing)),
        )
    return {layer: known.get(layer) or default_operation(layer) for layer in layers}


def random_genotype(searched: Genotype, seed: int, spatial_dims: int) -> Genotype:
    """A genotype by chance, from the space that the search had, with as many edges as the searched one.

    Edges: a share p is drawn evenly from (0, 1), each edge of the grid is kept with probability p, and edges that do not
    lie between the input and the output are removed (rule b); this is repeated until as many are left as
    the searched genotype has. Operations: each layer's evenly from its candidates. What the search had fixed
    (``search_edges`` or ``search_blocks`` false) is fixed here too. The same seed gives the same genotype.
    """
    random, levels, space = Random(seed), searched.levels, _space(searched)
    if space.get("search_edges", True):
        edges = _random_edges(random, Grid(levels), len(searched.edges))
    else:
        edges = unet_edges(levels)
    operations = {}
    for layer in Grid(levels).layers:
        candidates = space.get(f"{layer.kind}_candidates") or default_candidates(layer.kind, spatial_dims)
        drawn = random.choice(list(candidates))
        operations[layer] = drawn if space.get("search_blocks", True) else default_operation(layer)
    if not space.get("search_edges", True):
        operations |= _handed_on(levels)
    return Genotype.from_choices(levels, edges, operations, {"control": "random", "seed": seed})


def _random_edges(random: Random, grid: Grid, num_edges: int) -> frozenset[Edge]:
    for _ in range(MAX_DRAWS):
        share = random.random()
        edges = live_edges(grid, [edge for edge in grid.edges if random.random() < share])
        if len(edges) == num_edges:
            return edges
    raise UserError(
        f"random genotype: none of {MAX_DRAWS} draws has {num_edges} edges on a grid of {grid.levels} levels; "
        "give a searched genotype with more or fewer edges"
    )


def _handed_on(levels: int) -> dict[Layer, str]:
    """With the U-Net's edges some nodes only hand a skip on."""
    return {Layer(node, "normal"): "identity" for node in unet_pass_through(levels)}


def _space(searched: Genotype) -> dict[str, Any]:
    """The settings of the space that the genotype was searched in; empty if it does not say."""
    space = searched.provenance.get("space")
    space = dict(space) if isinstance(space, dict) else {}
    for setting, part in (("search_blocks", "operations"), ("search_edges", "edges")):
        if searched.provenance.get(part) == UNET:
            space[setting] = False
    return space
