"""The activations of a genotype's network: the values that its convolutions write.

On processors and GPUs, the time of a network follows its activations more closely than its
multiply-adds (Radosavovic et al., Designing Network Design Spaces, CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

from .config import SearchSpaceConfig
from .cost import LARGE_KERNEL_EXPANSION, level_voxels, narrowest_of, smallest_total
from .genotype import Genotype
from .grid import Edge, Layer


def genotype_activations(genotype: Genotype, config: SearchSpaceConfig, patch_size: Sequence[int]) -> int:
    """The values that all convolutions write in one forward pass of one patch.

    Args:
        genotype: the architecture; its widths replace those of ``config``.
        config: channels, strides and classes.
        patch_size: size of the patch along each axis, in voxels.
    """
    config, voxels = config.with_widths(genotype.widths), level_voxels(config, patch_size)
    layers = sum(_of_layer(layer, name, config, voxels) for layer, name in genotype.operations.items())
    edges = sum(_of_edge(edge, config, voxels) for edge in genotype.edges)
    return layers + edges + config.num_classes * voxels[0]


def smallest_activations(config: SearchSpaceConfig, patch_size: Sequence[int]) -> int:
    """The smallest activations of any network of the space."""
    narrowest, voxels = narrowest_of(config), level_voxels(config, patch_size)
    body = smallest_total(
        config,
        lambda layer: min(
            _of_layer(layer, name, narrowest, voxels) for name in config.layer_candidates(layer)
        ),
        lambda edge: _of_edge(edge, narrowest, voxels),
    )
    return body + config.num_classes * voxels[0]


def _of_edge(edge: Edge, config: SearchSpaceConfig, voxels: Sequence[int]) -> int:
    source, target = edge.source.level, edge.joint_level
    return 0 if source == target else config.channels(target) * voxels[max(source, target)]


def _of_layer(layer: Layer, name: str, config: SearchSpaceConfig, voxels: Sequence[int]) -> int:
    # An interpolation follows its convolution; a transposed convolution writes the finer level.
    level = layer.node.level + (layer.kind == "expansion" and name == "interpolate")
    fan_in, fan_out = config.layer_channels(layer)
    written = {
        "identity": 0,
        "2xconv3": 2 * fan_out,
        "pseudo3d": 2 * fan_out,
        "res2xconv3": 2 * fan_out + fan_out * (fan_in != fan_out),
        "large_kernel": fan_in + (LARGE_KERNEL_EXPANSION + 1) * fan_out,
    }
    return written.get(name, fan_out) * voxels[level]
