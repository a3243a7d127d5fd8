"""The network of a MONAI bundle.

Exported bundles hold a copy of this module and of ``search_space``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from search_space.genotype import Genotype
from search_space.network import UXNet
from search_space.nnunet_network import ListedChannels


def build_network(
    genotype: Mapping[str, Any],
    in_channels: int,
    num_classes: int,
    strides: Sequence[Sequence[int]],
    features_per_stage: Sequence[int],
) -> nn.Module:
    """The network with random weights: images (B, C, *P) to logits (B, K, *P).

    Args:
        genotype: the architecture, as the content of its file.
        in_channels: C.
        num_classes: K.
        strides: per level 1 to L-1, the stride along each axis.
        features_per_stage: channels of every level.
    """
    dims = len(strides[0])
    config = ListedChannels(
        spatial_dims=dims,  # type: ignore[arg-type]
        in_channels=in_channels,
        num_classes=num_classes,
        levels=len(strides) + 1,
        strides=tuple(tuple(stride) for stride in strides),
        features_per_stage=tuple(features_per_stage),
    )
    network = UXNet(config, Genotype.from_dict(dict(genotype), "genotype of the bundle"))
    memory_format = torch.channels_last_3d if dims == 3 else torch.channels_last
    return network.to(memory_format=memory_format)  # type: ignore[call-overload, no-any-return]
