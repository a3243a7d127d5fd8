"""Deep supervision: logits of coarser levels in training, and the loss over all of them.

Shapes: B batch, K classes, *S spatial axes of one level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from search_space import Genotype, SearchSpaceConfig, UXNet
from search_space.aggregation import Features
from search_space.grid import Node
from search_space.layers import CONV
from search_space.network import module_key


class SupervisedUXNet(UXNet):
    """UXNet with further heads on the last diagonal: the nodes N{L-1-j}.{j} at the levels j = 1 to L-3.

    These are the levels at which nnU-Net supervises. Nodes that the genotype lacks have no head. In training mode
    it returns a list of logits, the full resolution first; else as :class:`UXNet`.
    """

    def __init__(self, config: SearchSpaceConfig, genotype: Genotype) -> None:
        super().__init__(config, genotype)
        self._outputs: list[Tensor] = []
        self.coarse_heads = nn.ModuleDict()
        for node in supervised_nodes(genotype):
            head = CONV[config.spatial_dims](config.channels(node.level), config.num_classes, 1)
            nn.init.kaiming_normal_(head.weight, a=0.01)
            nn.init.zeros_(head.bias)
            self.coarse_heads[module_key(node)] = head

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        if not self.training:
            return super().forward(image)
        self._outputs = []
        logits = super().forward(image)
        outputs, self._outputs = [logits, *reversed(self._outputs)], []  # coarse nodes come first in the grid
        return outputs

    def _node(self, node: Node, image: Tensor, features: Features, scale: Tensor | float) -> Tensor:
        output = super()._node(node, image, features, scale)
        if self.training and module_key(node) in self.coarse_heads:
            self._outputs.append(self.coarse_heads[module_key(node)](output))
        return output


def supervised_nodes(genotype: Genotype) -> list[Node]:
    """The nodes of a genotype that get a head, the finest first."""
    last = genotype.levels - 1
    diagonal = [Node(last - level, level) for level in range(1, last - 1)]
    return [node for node in diagonal if node in genotype.nodes]


def supervised_loss(
    outputs: Tensor | Sequence[Tensor], label: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The mean of the losses of all outputs; the weight is halved with every coarser resolution, as in nnU-Net.

    Args:
        outputs: logits (B, K, *S), or a list of them with the full resolution first.
        label: class indices (B, 1, *S) at full resolution; for a coarser output every n-th voxel is taken.
        loss: of logits and label.
    """
    if isinstance(outputs, Tensor):
        return loss(outputs.float(), label)
    sizes = sorted({output.shape[2:].numel() for output in outputs}, reverse=True)
    weights = [0.5 ** sizes.index(output.shape[2:].numel()) for output in outputs]
    total = sum(
        weight * loss(output.float(), _shrunk(label, output.shape[2:]))
        for weight, output in zip(weights, outputs, strict=True)
    )
    return total / sum(weights)


def _shrunk(label: Tensor, size: Sequence[int]) -> Tensor:
    if label.shape[2:] == size:
        return label
    return F.interpolate(label.float(), size=tuple(size), mode="nearest").to(label.dtype)
