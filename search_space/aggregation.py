"""Aggregation along edges (equation 1): the alignment T and the sum of a node's inputs.

Shapes: B batch, C channels, *S = H W or D H W; C_j and S_j are those of level j.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from .grid import Edge, Node
from .kernels.convolution import CONV_FUNCTION
from .kernels.resampling import max_pool, upsample
from .layers import Convolution


class Align(nn.Module):
    """Alignment T of equation 1: (B, C_a, *S_a) of level a to (B, C_b, *S_b) of level b.

    T is the identity if a = b. Downwards, max poolings by one level each come first, and a 1x1x1
    convolution to C_b follows. Upwards, the 1x1x1 convolution comes first, and bi- or trilinear
    interpolations by one level each follow. The paper names no operations for T.

    Args:
        source_level, target_level: a and b.
        channels: gives the number of channels of a level.
        level_strides: the stride of each level against the level above.
        scale: initial value of a learned scale per channel, which multiplies the result;
            None: no scale.
    """

    def __init__(
        self,
        source_level: int,
        target_level: int,
        channels: Callable[[int], int],
        level_strides: Sequence[tuple[int, ...]],
        scale: float | None = None,
    ) -> None:
        super().__init__()
        dims = len(level_strides[0])
        self.scale = None if scale is None else nn.Parameter(torch.full((channels(target_level),), scale))
        self._per_channel = (-1, *(1,) * dims)
        self.source_level, self.target_level = source_level, target_level
        if source_level != target_level:
            self.project = Convolution(channels(source_level), channels(target_level), (1,) * dims)
        self.down = tuple(level_strides[source_level + 1 : target_level + 1])
        self.up = tuple(reversed(level_strides[target_level + 1 : source_level + 1]))

    def channel_scale(self) -> Tensor | None:
        """The learned scale, (C_b, 1, ...); None if the edge has none."""
        return None if self.scale is None else self.scale.view(self._per_channel)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.channel_scale()
        if self.source_level == self.target_level:
            return x if scale is None else x * scale.to(x.dtype)
        for stride in self.down:
            x = max_pool(x, stride)
        x = self.project(x) if scale is None else self.project.scaled(x, scale[:, None])
        for stride in self.up:
            x = upsample(x, stride)
        return x


class Features(dict[Node, Tensor]):
    """The feature maps of one forward pass, by node, as far as they are computed.

    ``pooled`` holds them at coarser levels. ``projected`` holds the output of edges.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pooled: dict[tuple[Node, int], Tensor] = {}
        self.projected: dict[Edge, Tensor] = {}


class SharedAggregation:
    """The sum of edges, sum_e g_e T_e(x), computed by parts: the same function as edge by edge.

    - A gate multiplies the 1x1x1 kernel, not the feature map: g (W x) = (g W) x.
    - Each pooling of a feature map is computed once and shared by all of its edges.
    - All projections of one feature map at one resolution are one convolution with concatenated
      kernels.
    - Coarse levels are summed on the way up: u(u(a) + b) = u(u(a)) + u(b), because each
      interpolation u is linear.

    Args:
        edges: the module of every edge.
        level_strides: the stride of each level against the level above.
        gate: gives the gate of an edge, a scalar tensor; None stands for 1.
    """

    def __init__(
        self,
        edges: Mapping[Edge, Align],
        level_strides: Sequence[tuple[int, ...]],
        gate: Callable[[Edge], Tensor | None],
    ) -> None:
        self._align = dict(edges)
        self._strides = level_strides
        self._gate = gate
        self._together: dict[tuple[Node, int], list[Edge]] = {}
        for edge, align in self._align.items():
            if align.source_level != align.target_level:
                self._together.setdefault(self._place(edge), []).append(edge)

    def _place(self, edge: Edge) -> tuple[Node, int]:
        """The place of an edge's projection: its source, at the coarser of its two levels."""
        align = self._align[edge]
        return edge.source, max(align.source_level, align.target_level)

    def __call__(self, edges: Iterable[Edge], features: Features) -> Tensor:
        """The sum over ``edges``, which share one target level: (B, C_b, *S_b)."""
        by_level: dict[int, list[Tensor]] = {}
        for edge in edges:
            align = self._align[edge]
            level = max(align.source_level, align.target_level)
            by_level.setdefault(level, []).append(self._contribution(edge, features))
        target = min(self._align[edge].target_level for edge in edges)
        total: Tensor | None = None
        for level in range(max(by_level), target - 1, -1):
            if total is not None:
                total = upsample(total, self._strides[level + 1])
            for term in by_level.get(level, []):
                total = term if total is None else total + term
        assert total is not None
        return total

    def _contribution(self, edge: Edge, features: Features) -> Tensor:
        align = self._align[edge]
        if align.source_level == align.target_level:
            x, factor = features[edge.source], self._factor(edge)
            return x if factor is None else x * factor.to(x.dtype)
        if edge not in features.projected:
            self._project(self._place(edge), features)
        return features.projected.pop(edge)

    def _factor(self, edge: Edge) -> Tensor | None:
        """Gate times learned scale: a scalar or (C_b, 1, ...); None stands for 1."""
        gate, scale = self._gate(edge), self._align[edge].channel_scale()
        if gate is None or scale is None:
            return scale if gate is None else gate
        return scale * gate

    def _project(self, place: tuple[Node, int], features: Features) -> None:
        """Computes all projections of one feature map at one resolution in one convolution."""
        node, level = place
        x = self._pooled(node, level, features)
        kernels = []
        for edge in self._together[place]:
            kernel, factor = self._align[edge].project.kernel(), self._factor(edge)
            if factor is not None:  # a scale per output channel is (C, 1, ...), a gate a scalar
                kernel = kernel * (factor[:, None] if factor.ndim else factor)
            kernels.append(kernel)
        kernel = kernels[0] if len(kernels) == 1 else torch.cat(kernels)
        maps = CONV_FUNCTION[x.ndim - 2](x, kernel)
        for edge, part in zip(
            self._together[place], maps.split([k.shape[0] for k in kernels], dim=1), strict=True
        ):
            features.projected[edge] = part

    def _pooled(self, node: Node, level: int, features: Features) -> Tensor:
        """The feature map of ``node``, max-pooled down to ``level``."""
        if level == node.level:
            return features[node]
        if (node, level) not in features.pooled:
            finer = self._pooled(node, level - 1, features)
            features.pooled[node, level] = max_pool(finer, self._strides[level])
        return features.pooled[node, level]
