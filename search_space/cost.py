"""The exact cost of a genotype's network, without building it; plain Python, no tensors.

Multiply-adds count the convolutions, as everywhere in this project. The numbers are those of
:class:`search_space.network.UXNet` without heads for deep supervision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .config import SearchSpaceConfig
from .genotype import Genotype
from .grid import Edge, Layer, Node, live_nodes
from .presets import unet_edges

LARGE_KERNEL, LARGE_KERNEL_EXPANSION = 5, 2
"""Size of ``large_kernel``'s depthwise kernel per axis, and the factor on its inner channels."""


class Cost(NamedTuple):
    """Costs that do not depend on the machine."""

    parameters: int
    """Number of trained parameters."""
    multiply_adds: int
    """Multiply-adds of the convolutions in one forward pass of one patch (half the FLOPs)."""


def genotype_cost(genotype: Genotype, config: SearchSpaceConfig, patch_size: Sequence[int]) -> Cost:
    """The parameters, and the multiply-adds of one patch.

    Args:
        genotype: the architecture; its widths replace those of ``config``.
        config: channels, strides and classes.
        patch_size: size of the patch along each axis, in voxels.
    """
    config, voxels = config.with_widths(genotype.widths), level_voxels(config, patch_size)
    head = config.channels(0) * config.num_classes
    parameters, multiply_adds = head + config.num_classes, head * voxels[0]
    for layer, name in genotype.operations.items():
        kernel, others = operation_parameters(layer, name, config)
        parameters += kernel + others
        multiply_adds += kernel * voxels[layer.node.level + (layer.kind == "expansion")]
    for edge in genotype.edges:
        kernel, others = edge_parameters(edge, genotype.edge_scale, config)
        parameters += kernel + others
        multiply_adds += kernel * voxels[max(edge.source.level, edge.joint_level)]
    return Cost(parameters, multiply_adds)


def smallest_cost(config: SearchSpaceConfig, patch_size: Sequence[int]) -> Cost:
    """The smallest parameters and the smallest multiply-adds of any network of the space.

    The two minima may belong to different networks.
    """
    narrowest, voxels = narrowest_of(config), level_voxels(config, patch_size)

    def layer_costs(layer: Layer) -> list[tuple[int, int]]:
        return [operation_parameters(layer, name, narrowest) for name in config.layer_candidates(layer)]

    def layer_multiply_adds(layer: Layer) -> int:
        places = voxels[layer.node.level + (layer.kind == "expansion")]
        return min(kernel for kernel, _ in layer_costs(layer)) * places

    def edge_multiply_adds(edge: Edge) -> int:
        kernel, _ = edge_parameters(edge, config.edge_scale, narrowest)
        return kernel * voxels[max(edge.source.level, edge.joint_level)]

    parameters = smallest_total(
        config,
        lambda layer: min(map(sum, layer_costs(layer))),
        lambda edge: sum(edge_parameters(edge, config.edge_scale, narrowest)),
    )
    multiply_adds = smallest_total(config, layer_multiply_adds, edge_multiply_adds)
    head = narrowest.channels(0) * config.num_classes
    return Cost(parameters + head + config.num_classes, multiply_adds + head * voxels[0])


def narrowest_of(config: SearchSpaceConfig) -> SearchSpaceConfig:
    """The space with the smallest width at each level."""
    return config.with_widths((min(config.width_choices),) * config.levels)


def smallest_total(
    config: SearchSpaceConfig, layer_cost: Callable[[Layer], int], edge_cost: Callable[[Edge], int]
) -> int:
    """The smallest sum over the layers and edges of any network of the space.

    Every network has the anchored edges if there are any, and a path from the input to the output.

    Args:
        config: the space.
        layer_cost: of the cheapest candidate of a layer.
        edge_cost: of an edge.
    """
    grid = config.grid
    is_fixed = config.anchored_edges or not config.search_edges
    anchors = unet_edges(config.levels) if is_fixed else frozenset()
    coarse = {edge.target for edge in anchors if edge.is_coarse}

    def node_cost(node: Node, expands: bool) -> int:
        layers = grid.layers_of(node)
        return sum(layer_cost(layer) for layer in layers if layer.kind != "expansion" or expands)

    if anchors:
        nodes = sum(node_cost(node, node in coarse) for node in live_nodes(anchors))
        return nodes + sum(map(edge_cost, anchors))
    best = {grid.input: node_cost(grid.input, False)}
    for node in grid.nodes[1:]:  # in the order of computation
        best[node] = min(
            best[edge.source] + edge_cost(edge) + node_cost(node, edge.is_coarse)
            for edge in grid.edges_into(node)
        )
    return best[grid.output]


def level_voxels(config: SearchSpaceConfig, patch_size: Sequence[int]) -> list[int]:
    """The number of voxels of a feature map at each level."""
    voxels = [math.prod(patch_size)]
    for stride in config.level_strides[1:]:
        voxels.append(voxels[-1] // math.prod(stride))
    return voxels


def operation_parameters(layer: Layer, name: str, config: SearchSpaceConfig) -> tuple[int, int]:
    """Parameters of an operation: those of its convolutions, then the others (norms).

    Each parameter of a convolution is applied at every voxel.
    """
    fan_in, fan_out = config.layer_channels(layer)
    dims = config.spatial_dims
    cube = 3**dims
    stride = config.level_strides[layer.node.level + (layer.kind == "expansion")]
    kernels = {
        "conv3": cube * fan_in * fan_out,
        "conv3x3x1": 9 * fan_in * fan_out,
        "conv5": 5**dims * fan_in * fan_out,
        "pseudo3d": (9 * fan_in + 3 * fan_out) * fan_out,
        "2xconv3": cube * (fan_in + fan_out) * fan_out,
        "conv3_rate2": cube * fan_in * fan_out,
        "conv5_rate2": 5**dims * fan_in * fan_out,
        "res2xconv3": (cube * (fan_in + fan_out) + fan_in * (fan_in != fan_out)) * fan_out,
        "large_kernel": LARGE_KERNEL**dims * fan_in + LARGE_KERNEL_EXPANSION * (fan_in + fan_out) * fan_out,
        "identity": 0,
        "max_pool": fan_in * fan_out,
        "avg_pool": fan_in * fan_out,
        "conv3_stride2": cube * fan_in * fan_out,
        "transposed_conv": math.prod(stride) * fan_in * fan_out,
        "interpolate": fan_in * fan_out,
    }
    norms = 0 if name == "identity" or layer.kind == "expansion" else 2 * fan_out
    inner_norms = {"2xconv3": 2 * fan_out, "res2xconv3": 2 * fan_out, "large_kernel": 2 * fan_in}
    return kernels[name], norms + inner_norms.get(name, 0)


def edge_parameters(edge: Edge, is_scaled: bool, config: SearchSpaceConfig) -> tuple[int, int]:
    """Parameters of an edge: those of its 1x1x1 convolution, then its scales."""
    source, target = config.channels(edge.source.level), config.channels(edge.joint_level)
    kernel = 0 if edge.source.level == edge.joint_level else source * target
    return kernel, target if is_scaled else 0
