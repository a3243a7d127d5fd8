"""How many values the edges of a network read and write; plain Python, no tensors.

It follows :class:`search_space.aggregation.SharedAggregation`, which computes the edges together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from search_space import Genotype, SearchSpaceConfig
from search_space.cost import level_voxels
from search_space.grid import Node


class EdgeTraffic(NamedTuple):
    """Millions of values, by what is done with them."""

    pooled: float
    projected: float
    interpolated: float
    summed: float


def edge_traffic(genotype: Genotype, config: SearchSpaceConfig, patch_size: Sequence[int]) -> EdgeTraffic:
    """The values that the edges of a genotype's network read and write for one patch.

    Args:
        genotype: the architecture.
        config: its space, with the genotype's widths.
        patch_size: of one patch, in voxels.
    """
    voxels, channels = level_voxels(config, patch_size), config.channels
    pooled: set[tuple[Node, int]] = set()
    projected_in: set[tuple[Node, int]] = set()
    projected_out = scaled = 0
    levels_into: dict[tuple[Node, bool, int], Counter[int]] = {}
    for edge in genotype.edges:
        source, target = edge.source.level, edge.joint_level
        coarser = max(source, target)
        pooled |= {(edge.source, level) for level in range(source + 1, target + 1)}
        if source != target:
            projected_in.add((edge.source, coarser))
            projected_out += channels(target) * voxels[coarser]
        elif genotype.edge_scale:
            scaled += channels(target) * voxels[target]
        levels_into.setdefault((edge.target, edge.is_coarse, target), Counter())[coarser] += 1
    interpolated = added = 0
    for (_, _, target), levels in levels_into.items():
        # Coarse levels are summed on the way up, so the first term of the coarsest is free.
        interpolated += sum(channels(target) * voxels[level] for level in range(target, max(levels)))
        added += sum(channels(target) * voxels[level] * count for level, count in levels.items())
        added -= channels(target) * voxels[max(levels)]
    return EdgeTraffic(
        sum(channels(node.level) * voxels[level - 1] for node, level in pooled) / 1e6,
        (sum(channels(node.level) * voxels[level] for node, level in projected_in) + projected_out) / 1e6,
        interpolated / 1e6,
        (added + scaled) / 1e6,
    )
