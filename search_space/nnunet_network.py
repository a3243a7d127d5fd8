"""The fixed network as nnU-Net v2 builds it from the ``architecture`` of a plans file; needs PyTorch alone.

Shapes: B batch, C channels, K classes, *S = H W or D H W in the order of nnU-Net's arrays (after its
``transpose_forward``); level j of the grid has *S_j.

What nnU-Net 2.8 expects of a network:

- it is built as ``cls(input_channels=, num_classes=, deep_supervision=, **arch_kwargs)``, and ``strides`` is one of
  the ``arch_kwargs``: nnU-Net shrinks the labels of deep supervision by it;
- ``decoder.deep_supervision`` can be switched, and decides alone whether a list is returned, in evaluation mode too;
- that list has ``len(strides) - 1`` logits, one for each resolution but the lowest, the finest first;
- the heads are always there and are called ``decoder.seg_layers.N``, the finest last: inference builds the network
  without deep supervision and loads all weights, fine-tuning leaves these out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import Field
from torch import Tensor, nn

from .config import SearchSpaceConfig
from .errors import UserError
from .genotype import Genotype
from .grid import Node
from .kernels.convolution import CHANNELS_LAST
from .kernels.resampling import max_pool
from .layers import CONV
from .network import UXNet


class ListedChannels(SearchSpaceConfig):
    """The configuration of a fixed network whose channels are given level by level."""

    features_per_stage: tuple[int, ...] = Field(min_length=2)
    """In place of ``base_channels`` and ``max_channels``."""

    def channels(self, level: int) -> int:
        return self.features_per_stage[level]


def head_nodes(levels: int, nodes: Collection[Node]) -> list[Node]:
    """For each level 0 to L-2, the node whose feature map its head reads.

    It is the last node of that level in the order of computation: N{L-1-j}.{j} where the genotype has it, else one of
    an earlier stage. If the genotype has no node at all at a level, it is that of the next finer level.
    """
    found: list[Node] = []
    for level in range(levels - 1):
        there = [node for node in nodes if node.level == level]
        found.append(max(there, key=lambda node: node.stage) if there else found[-1])
    return found


class SegmentationHeads(nn.Module):
    """One 1x1x1 convolution to the classes for each level 0 to L-2.

    Args:
        channels: of the feature map that each head reads, the finest level first.
        num_classes: K.
        spatial_dims: 2 or 3.
        deep_supervision: whether all heads are computed, or the finest alone.
    """

    def __init__(
        self, channels: Sequence[int], num_classes: int, spatial_dims: int, deep_supervision: bool
    ) -> None:
        super().__init__()
        # nnU-Net has the finest one last.
        heads = [CONV[spatial_dims](size, num_classes, 1) for size in reversed(channels)]
        for head in heads:
            nn.init.kaiming_normal_(head.weight, a=0.01)
            if head.bias is not None:
                nn.init.zeros_(head.bias)
        self.seg_layers = nn.ModuleList(heads)
        self.deep_supervision = deep_supervision

    @property
    def deep_supervision(self) -> bool:
        """Whether all heads are computed; those that are not take no gradient, which DDP would wait for."""
        return self._deep_supervision

    @deep_supervision.setter
    def deep_supervision(self, enabled: bool) -> None:
        self._deep_supervision = enabled
        for head in list(self.seg_layers)[:-1]:
            head.requires_grad_(enabled)

    def forward(self, maps: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """The logits (B, K, *S) of the finest map, or with deep supervision those of all ``maps``, finest first."""
        if not self._deep_supervision:
            return self.seg_layers[-1](maps[0])
        return [head(x) for head, x in zip(reversed(list(self.seg_layers)), maps, strict=True)]


class UXNetForNNUNet(UXNet):
    """The fixed network of a genotype, as nnU-Net v2 builds, trains and loads it.

    Weights but for the heads have the names that they have in :class:`UXNet`, whose axes the network computes in: the
    image's axes are exchanged on the way in and the logits' on the way out. So weights and kernels such as 3x3x1 mean
    the same in both.

    Args:
        input_channels: C of the image.
        num_classes: K.
        genotype: the architecture, as the content of its file.
        features_per_stage: channels of every level.
        strides: per level 0 to L-1 the stride along each of nnU-Net's axes; those of level 0 are 1.
        axes: for each axis of :class:`UXNet` (right, anterior, superior), which of nnU-Net's axes it is.
        deep_supervision: see :class:`SegmentationHeads`.

    Raises:
        UserError: if the genotype has another number of levels than there are strides, or an operation that does not
            exist in this number of dimensions.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        genotype: Mapping[str, Any],
        features_per_stage: Sequence[int],
        strides: Sequence[Sequence[int]],
        axes: Sequence[int],
        deep_supervision: bool = True,
    ) -> None:
        architecture = Genotype.from_dict(dict(genotype), "genotype of the plans")
        if len(strides) != architecture.levels or len(features_per_stage) != architecture.levels:
            raise UserError(
                f"genotype of the plans: has {architecture.levels} levels; strides and features_per_stage are for "
                f"{len(strides)} and {len(features_per_stage)}"
            )
        if sorted(axes) != list(range(len(strides[0]))):
            raise UserError(
                f"axes of the plans are {list(axes)}; expected each of 0 to {len(strides[0]) - 1}"
            )
        config = ListedChannels(
            spatial_dims=len(axes),  # type: ignore[arg-type]
            in_channels=input_channels,
            num_classes=num_classes,
            levels=architecture.levels,
            strides=tuple(tuple(stride[axis] for axis in axes) for stride in strides[1:]),
            features_per_stage=tuple(features_per_stage),
        )
        super().__init__(config, architecture)
        del self.head  # the decoder has its own
        self._head_nodes = head_nodes(config.levels, self.nodes)
        self._to_grid = (0, 1, *(2 + axis for axis in axes))
        self._from_grid = (0, 1, *(2 + list(axes).index(axis) for axis in range(len(axes))))
        self.decoder = SegmentationHeads(
            [config.channels(node.level) for node in self._head_nodes],
            num_classes,
            config.spatial_dims,
            deep_supervision,
        )

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """The logits of images (B, C, *S): (B, K, *S), or a list (B, K, *S_j) for j = 0 to L-2 if supervised."""
        image = image.permute(self._to_grid)
        if image.device.type == "cpu":  # where convolutions of low channel counts are fastest
            image = image.contiguous(memory_format=CHANNELS_LAST[image.ndim])
        features = self.features(image)
        maps = [
            self._shrunk(features[node], node.level, level) for level, node in enumerate(self._head_nodes)
        ]
        outputs = self.decoder(maps)
        if isinstance(outputs, Tensor):
            return outputs.permute(self._from_grid)
        return [logits.permute(self._from_grid) for logits in outputs]

    def _shrunk(self, x: Tensor, level: int, target: int) -> Tensor:
        """A feature map of ``level`` at the coarser level ``target``."""
        for stride in self.config.level_strides[level + 1 : target + 1]:
            x = max_pool(x, stride)
        return x
