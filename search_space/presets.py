"""Networks of the literature as genotypes of the grid (figure 1 of the paper).

Skips enter by summation, as everywhere in the grid; the original networks concatenate. A node that
only passes a feature map on to the next stage uses ``identity``.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import UserError, nearest
from .genotype import Genotype
from .grid import Edge, Grid, Layer, Node

NORMAL, REDUCTION, EXPANSION = "2xconv3", "max_pool", "transposed_conv"
"""The U-Net's operations (Ronneberger 2015, Cicek 2016)."""


def unet_edges(levels: int) -> frozenset[Edge]:
    """The U-Net's edges: down level by level, up the last diagonal, and skips stage by stage."""
    grid = Grid(levels)
    edges = {Edge(Node(0, j - 1), Node(0, j)) for j in range(1, levels)}
    for node in grid.nodes:
        if node.stage > 0:
            edges.add(Edge(Node(node.stage - 1, node.level), node))
            if node.stage + node.level == levels - 1:
                edges.add(Edge(Node(node.stage - 1, node.level + 1), node))
    return frozenset(edges)


def unet_pass_through(levels: int) -> frozenset[Node]:
    """The nodes that only pass a skip on to the next stage in the U-Net."""
    return frozenset(n for n in Grid(levels).nodes if n.stage > 0 and n.stage + n.level < levels - 1)


def unet(levels: int = 5) -> Genotype:
    """The U-Net (figure 1a): 2 x 3x3x3 convolutions, max pooling and transposed convolutions."""
    return _genotype("unet", levels, unet_edges(levels), identities=unet_pass_through(levels))


def unet_plus_plus(levels: int = 5) -> Genotype:
    """U-Net++: each node of stage i takes its own level and the next coarser one of stage i - 1.

    In the original, node X(level, i) also takes X(level, k) for all k < i. The grid joins adjacent
    stages only, so these longer skips are left out.
    """
    edges = {Edge(Node(0, j - 1), Node(0, j)) for j in range(1, levels)}
    for node in Grid(levels).nodes:
        if node.stage > 0:
            edges |= {Edge(Node(node.stage - 1, k), node) for k in (node.level, node.level + 1)}
    return _genotype("unet++", levels, edges)


def dense_unet(levels: int = 5) -> Genotype:
    """The U-Net with a densely connected encoder (figure 1b): each level takes all finer ones."""
    dense = {edge for edge in Grid(levels).edges if edge.target.stage == 0}
    return _genotype("dense-unet", levels, unet_edges(levels) | dense, identities=unet_pass_through(levels))


def res_unet(levels: int = 5) -> Genotype:
    """The Res-U-Net (figure 1b): the U-Net with residual 2 x 3x3x3 convolutions in every node."""
    genotype = unet(levels)
    operations = {
        layer: "res2xconv3" if name == NORMAL else name for layer, name in genotype.operations.items()
    }
    return Genotype.from_choices(levels, genotype.edges, operations, {"preset": "res-unet"})


def dla(levels: int = 5) -> Genotype:
    """Deep layer aggregation (figure 1c; Yu et al. 2018): a residual encoder, then DLA-Up.

    Encoder: residual 2 x 3x3x3 convolutions, stride-2 convolutions between the levels. DLA-Up
    merges neighbouring levels again and again (iterative deep aggregation): one 3x3x3 convolution
    per node, 1x1x1 convolution and interpolation on the way up. These are the edges of
    :func:`unet_plus_plus`. The trees within a level of the original encoder are no part of the
    grid.
    """
    genotype = unet_plus_plus(levels)
    encoder = {"normal": "res2xconv3", "reduction": "conv3_stride2"}
    decoder = {"normal": "conv3", "expansion": "interpolate"}
    operations = {
        layer: (decoder if layer.node.stage else encoder)[layer.kind] for layer in genotype.operations
    }
    return Genotype.from_choices(levels, genotype.edges, operations, {"preset": "dla"})


def full(levels: int = 5) -> Genotype:
    """Every edge of the grid with the U-Net's operations: the control for searched edges."""
    return _genotype("full", levels, frozenset(Grid(levels).edges))


_PRESETS: dict[str, Callable[[int], Genotype]] = {
    "unet": unet,
    "unet++": unet_plus_plus,
    "res-unet": res_unet,
    "dense-unet": dense_unet,
    "dla": dla,
    "full": full,
}


def names() -> tuple[str, ...]:
    """The presets' names."""
    return tuple(_PRESETS)


def get(name: str, levels: int = 5) -> Genotype:
    """The preset called ``name`` with ``levels`` levels; raises :class:`UserError` if unknown."""
    if name not in _PRESETS:
        raise UserError(f"preset '{name}' is unknown{nearest(name, _PRESETS)}; known: {', '.join(_PRESETS)}")
    return _PRESETS[name](levels)


def default_operation(layer: Layer) -> str:
    """The U-Net's operation for a layer of this kind."""
    return {"normal": NORMAL, "reduction": REDUCTION, "expansion": EXPANSION}[layer.kind]


def _genotype(
    name: str, levels: int, edges: frozenset[Edge] | set[Edge], identities: frozenset[Node] = frozenset()
) -> Genotype:
    operations = {layer: default_operation(layer) for layer in Grid(levels).layers}
    operations |= {Layer(node, "normal"): "identity" for node in identities}
    return Genotype.from_choices(levels, edges, operations, {"preset": name})
