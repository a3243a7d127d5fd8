"""Controls of a search: networks of the same space that show which part of a search was worth it.

All are derived from the searched genotype alone, without tensors:

- ``searched``: the genotype itself.
- ``all-edges``: every edge of the grid, the searched operations.
- ``searched-edges``: the searched edges, the U-Net's operations.
- ``searched-operations``: the U-Net's edges, the searched operations.
- ``random:SEED``: as many edges as the searched genotype, drawn by chance, and operations and
  widths drawn by chance.
- ``unet-widths:SEED``: the U-Net with widths drawn by chance; seed 0: width 1 at every level.

The controls stay in the space of the search: they have its anchored edges, its scale of edges, its
pass-through nodes, and the searched widths, but for those that draw their own.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from random import Random
from typing import Any

from search_space import Genotype, SearchSpaceConfig, presets
from search_space.errors import UserError
from search_space.genotype import parse_layer
from search_space.grid import Edge, Grid, Layer, live_edges
from search_space.presets import default_operation, unet_edges, unet_pass_through
from strategies.single_path.sampling import Sampler

logger = logging.getLogger(__name__)

SEARCHED = "searched"
RANDOM_PREFIX, WIDTHS_PREFIX = "random:", "unet-widths:"
CONTROLS = {
    SEARCHED: "the genotype that 'genotype' names",
    "all-edges": "every edge of the grid, the searched operations",
    "searched-edges": "the searched edges, the U-Net's operations",
    "searched-operations": "the U-Net's edges, the searched operations",
    RANDOM_PREFIX + "SEED": "a random genotype with as many edges as the searched one",
    WIDTHS_PREFIX + "SEED": "the U-Net with random widths of the searched space; seed 0: without",
}
UNET = "unet"
"""Under "operations" or "edges" of a genotype's provenance: these are the U-Net's, whatever was
searched."""
MAX_DRAWS = 100_000


def is_control(name: str) -> bool:
    """Whether ``name`` is one of these words; a colon must be followed by a whole number.

    Raises:
        UserError: for ``random:`` or ``unet-widths:`` and anything but a whole number from 0 on.
    """
    for prefix in (RANDOM_PREFIX, WIDTHS_PREFIX):
        if name.startswith(prefix):
            if not name.removeprefix(prefix).isdecimal():
                raise UserError(f"architecture '{name}': expected {prefix} and a seed, such as {prefix}0")
            return True
    return name in CONTROLS


def control_genotype(name: str, searched: Genotype, spatial_dims: int) -> Genotype:
    """The control ``name`` of a searched genotype.

    Args:
        name: see :func:`is_control`.
        searched: the genotype. Its provenance says which candidates were searched, and the weights
            of layers that it does not use; without them, defaults are the candidates and the
            U-Net's operations.
        spatial_dims: of the data; the default candidates depend on it.
    """
    if name == SEARCHED:
        return searched
    if name.startswith(RANDOM_PREFIX):
        return random_genotype(searched, int(name.removeprefix(RANDOM_PREFIX)), spatial_dims)
    if name.startswith(WIDTHS_PREFIX):
        return unet_with_widths(searched, int(name.removeprefix(WIDTHS_PREFIX)))
    provenance = {"control": name}
    if name == "searched-edges":
        return with_unet_operations(searched, provenance)
    if name == "searched-operations":
        return with_unet_edges(searched, provenance)
    edges = Grid(searched.levels).edges
    return _in_the_same_space(searched, edges, searched_operations(searched, edges), provenance)


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
    return _in_the_same_space(searched, searched.edges, operations, provenance)


def with_unet_edges(searched: Genotype, provenance: dict[str, Any] | None = None) -> Genotype:
    """The U-Net's edges with the searched operations.

    Nodes that only pass a skip on in the U-Net do so here.

    Args:
        searched: the genotype.
        provenance: None: that of the genotype, with a word on its edges.
    """
    if provenance is None:
        provenance = {**searched.provenance, "edges": UNET}
    edges, handed_on = unet_edges(searched.levels), _handed_on(searched.levels)
    operations = searched_operations(searched, edges, handed_on) | handed_on
    return _in_the_same_space(searched, edges, operations, provenance)


def searched_operations(
    searched: Genotype, edges: Collection[Edge], besides: Collection[Layer] = ()
) -> dict[Layer, str]:
    """The preferred operation of every layer that ``edges`` need, ``besides`` those given.

    For a removed layer it is the one with the largest weight in the genotype's provenance. Without
    weights it is the U-Net's, and a warning names these layers. ``identity`` counts as an operation
    only if the search could choose it (``pass_through``); else the layer is like a removed one.
    """
    space = _space(searched)
    is_searched, offers_identity = space.get("search_blocks", True), space.get("pass_through", False)
    weights = searched.provenance.get("alphas") if is_searched else None
    known = {
        parse_layer(layer): max(row, key=row.__getitem__) for layer, row in (weights or {}).items() if row
    }
    known |= {
        layer: name for layer, name in searched.operations.items() if name != "identity" or offers_identity
    }
    expanded = {edge.target for edge in edges if edge.is_coarse}
    layers = [
        layer
        for layer in searched.grid.layers
        if (layer.kind != "expansion" or layer.node in expanded) and layer not in besides
    ]
    missing = [layer for layer in layers if layer not in known]
    if missing and is_searched:
        logger.warning(
            "the genotype does not say what was found for %s; the U-Net's operation is taken there",
            ", ".join(map(str, missing)),
        )
    handed_on = _handed_on(searched.levels) if offers_identity else {}
    return {layer: known.get(layer) or handed_on.get(layer) or default_operation(layer) for layer in layers}


def random_genotype(searched: Genotype, seed: int, spatial_dims: int) -> Genotype:
    """A random genotype of the searched space, with as many edges as the searched one.

    Edges: a share p is drawn evenly from (0, 1), each searched edge is kept with probability p, and
    edges that do not lie between the input and the output are removed (rule b). This is repeated
    until as many edges are left as the searched genotype has. Anchored edges are always there.
    Operations: each layer's evenly from its candidates, ``identity`` in pass-through nodes included
    if the search had it. Widths: each level's evenly from the choices of the search. What the
    search had fixed (``search_edges`` or ``search_blocks`` false) is fixed here too. The same seed
    gives the same genotype.
    """
    random, sampler = Random(seed), Sampler(_space_config(searched, spatial_dims))
    config = sampler.config
    edges = _random_edges(random, sampler, len(searched.edges))
    choices: dict[str, Any] = {str(edge): int(edge in edges) for edge in sampler.free_edges}
    for layer in config.grid.layers:
        drawn, allowed = random.choice(config.layer_candidates(layer)), sampler.choices[str(layer)]
        choices[str(layer)] = drawn if drawn in allowed else allowed[0]  # one that is fixed
    for level in range(config.levels):
        choices[f"width/{level}"] = random.choice(config.width_choices)
    genotype = sampler.genotype(choices)
    return Genotype.from_choices(
        searched.levels,
        genotype.edges,
        genotype.operations,
        {"control": "random", "seed": seed},
        widths=genotype.widths or searched.widths,
        edge_scale=genotype.edge_scale,
    )


def unet_with_widths(searched: Genotype, seed: int) -> Genotype:
    """The U-Net with level widths drawn from the choices of the search; seed 0: none drawn.

    So the U-Net is tuned as hard as the searched network: the best of several of these.

    Raises:
        UserError: for another seed than 0 if the search had no choice of widths.
    """
    unet = presets.get("unet", searched.levels)
    factors = _space(searched).get("width_choices") or (1.0,)
    if seed > 0 and len(factors) < 2:
        raise UserError(
            f"architecture '{WIDTHS_PREFIX}{seed}': the searched genotype's space has no width_choices; take "
            f"{WIDTHS_PREFIX}0, or a genotype whose widths were searched"
        )
    random = Random(seed)
    return Genotype.from_choices(
        searched.levels,
        unet.edges,
        unet.operations,
        {"control": WIDTHS_PREFIX.removesuffix(":"), "seed": seed},
        widths=[random.choice(factors) for _ in range(searched.levels)] if seed else None,
    )


def _random_edges(random: Random, sampler: Sampler, num_edges: int) -> frozenset[Edge]:
    grid, anchors = sampler.config.grid, sampler.anchors
    if not sampler.free_edges:
        return anchors
    for _ in range(MAX_DRAWS):
        share = random.random()
        drawn = [edge for edge in sampler.free_edges if random.random() < share]
        edges = live_edges(grid, [*anchors, *drawn])
        if len(edges) == num_edges:
            return edges
    raise UserError(
        f"random genotype: none of {MAX_DRAWS} draws has {num_edges} edges on a grid of {grid.levels} levels; "
        "give a searched genotype with more or fewer edges"
    )


def _in_the_same_space(
    searched: Genotype,
    edges: Collection[Edge],
    operations: dict[Layer, str],
    provenance: dict[str, Any],
) -> Genotype:
    """A genotype of these edges and operations, with the searched widths and scales of edges."""
    return Genotype.from_choices(
        searched.levels,
        edges,
        operations,
        provenance,
        widths=searched.widths,
        edge_scale=searched.edge_scale,
    )


def _handed_on(levels: int) -> dict[Layer, str]:
    """With the U-Net's edges some nodes only hand a skip on."""
    return {Layer(node, "normal"): "identity" for node in unet_pass_through(levels)}


SPACE_SETTINGS = (
    "normal_candidates",
    "reduction_candidates",
    "expansion_candidates",
    "width_choices",
    "anchored_edges",
    "pass_through",
    "search_blocks",
    "search_edges",
)
"""The settings of a space that say which genotypes it holds."""


def _space_config(searched: Genotype, spatial_dims: int) -> SearchSpaceConfig:
    """The space that the genotype was searched in; the paper's where it does not say."""
    space = _space(searched)
    given = {name: space[name] for name in SPACE_SETTINGS if space.get(name) is not None}
    given |= {"spatial_dims": spatial_dims, "levels": searched.levels, "edge_scale": searched.edge_scale}
    return SearchSpaceConfig.parse(given, "the searched genotype's provenance: space")


def _space(searched: Genotype) -> dict[str, Any]:
    """The settings of the space that the genotype was searched in; empty if it does not say."""
    space = searched.provenance.get("space")
    space = dict(space) if isinstance(space, dict) else {}
    for setting, part in (("search_blocks", "operations"), ("search_edges", "edges")):
        if searched.provenance.get(part) == UNET:
            space[setting] = False
    return space
