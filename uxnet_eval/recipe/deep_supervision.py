"""Deep supervision: which nodes have heads of their own in training, and the loss over all outputs.

Shapes: B batch, K classes, *S spatial axes of one level.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from torch import Tensor
from torch.nn import functional as F

from search_space.grid import Node


def supervised_nodes(levels: int, nodes: Collection[Node]) -> list[Node]:
    """The ``nodes`` that get a head: N{L-1-j}.{j} at the levels j = 1 to L-3, finest first.

    They are the last diagonal of a grid of ``levels``, at the levels at which nnU-Net supervises.
    """
    last = levels - 1
    diagonal = [Node(last - level, level) for level in range(1, last - 1)]
    return [node for node in diagonal if node in nodes]


def supervised_loss(
    outputs: Tensor | Sequence[Tensor], label: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The weighted mean of the losses of all outputs.

    The weight halves with each coarser resolution, as in nnU-Net.

    Args:
        outputs: logits (B, K, *S), or a list of them with the full resolution first.
        label: class indices (B, 1, *S) at full resolution; for a coarser output every n-th voxel is
            taken.
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
