"""The fixed network for nnU-Net v2, built from the ``architecture`` of a plans file; needs PyTorch.

Shapes: B batch, C channels, K classes, *S = H W or D H W in the order of nnU-Net's arrays (after
its ``transpose_forward``); level j of the grid has *S_j.

nnU-Net 2.8 expects this of a network:

- It is built as ``cls(input_channels=, num_classes=, deep_supervision=, **arch_kwargs)``. One of
  the ``arch_kwargs`` is ``strides``, by which nnU-Net shrinks the labels of deep supervision.
- ``decoder.deep_supervision`` can be switched. It alone decides whether a list is returned, in
  evaluation mode too.
- This list has ``len(strides) - 1`` logits, one for each resolution except the lowest, with the
  finest first.
- The heads always exist and are called ``decoder.seg_layers.N``, with the finest last. Inference
  builds the network without deep supervision and loads all weights; fine-tuning omits the heads.
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
    """Configuration of a fixed network with the number of channels given for each level."""

    features_per_stage: tuple[int, ...] = Field(min_length=2)
    """Channels of each level; they replace ``base_channels`` and ``max_channels``."""

    def channels(self, level: int) -> int:
        return self.features_per_stage[level]


def head_nodes(levels: int, nodes: Collection[Node]) -> list[Node]:
    """For each level 0 to L-2, the node whose feature map its head reads.

    It is the last node of that level in the order of computation: N{L-1-j}.{j} if the genotype has
    it, otherwise one of an earlier stage. If the genotype has no node at a level, it is the node of
    the next finer level.
    """
    found: list[Node] = []
    for level in range(levels - 1):
        there = [node for node in nodes if node.level == level]
        found.append(max(there, key=lambda node: node.stage) if there else found[-1])
    return found


class SegmentationHeads(nn.Module):
    """One 1x1x1 convolution to the classes for each level 0 to L-2.

    Args:
        channels: channels of the feature map that each head reads, the finest level first.
        num_classes: K.
        spatial_dims: 2 or 3.
        deep_supervision: whether all heads are computed, or the finest only.
    """

    def __init__(
        self, channels: Sequence[int], num_classes: int, spatial_dims: int, deep_supervision: bool
    ) -> None:
        super().__init__()
        # In nnU-Net, the finest head comes last.
        heads = [CONV[spatial_dims](size, num_classes, 1) for size in reversed(channels)]
        for head in heads:
            nn.init.kaiming_normal_(head.weight, a=0.01)
            if head.bias is not None:
                nn.init.zeros_(head.bias)
        self.seg_layers = nn.ModuleList(heads)
        self.deep_supervision = deep_supervision

    @property
    def deep_supervision(self) -> bool:
        """Whether all heads are computed.

        Heads that are not computed take no gradient, because DDP would wait for it.
        """
        return self._deep_supervision

    @deep_supervision.setter
    def deep_supervision(self, enabled: bool) -> None:
        self._deep_supervision = enabled
        for head in list(self.seg_layers)[:-1]:
            head.requires_grad_(enabled)

    def forward(self, maps: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """The logits (B, K, *S) of the finest map; with deep supervision, those of all ``maps``.

        The list begins with the finest map.
        """
        if not self._deep_supervision:
            return self.seg_layers[-1](maps[0])
        return [head(x) for head, x in zip(reversed(list(self.seg_layers)), maps, strict=True)]


class UXNetForNNUNet(UXNet):
    """The fixed network of a genotype, as nnU-Net v2 builds, trains and loads it.

    All weights except those of the heads have the same names as in :class:`UXNet`. The network
    computes in the axes of :class:`UXNet`: it exchanges the axes of the image at the input and
    those of the logits at the output. Weights, and kernels such as 3x3x1, therefore mean the same
    in both.

    Args:
        input_channels: C of the image.
        num_classes: K.
        genotype: the architecture, as the content of its file.
        features_per_stage: channels of every level.
        strides: for each level 0 to L-1, the stride along each of nnU-Net's axes; 1 for level 0.
        axes: for each axis of :class:`UXNet` (right, anterior, superior), the index of nnU-Net's
            axis.
        deep_supervision: see :class:`SegmentationHeads`.

    Raises:
        UserError: if the genotype has another number of levels than there are strides, or if an
            operation does not exist in this number of dimensions.
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
        del self.head  # the decoder has its own heads
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
        """The logits (B, K, *S) of images (B, C, *S).

        With deep supervision, it is a list of (B, K, *S_j) for j = 0 to L-2.
        """
        image = image.permute(self._to_grid)
        if image.device.type == "cpu":  # convolutions with few channels are fastest in this format
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
