"""Resampling between neighbouring levels: max pooling down, bi- or trilinear interpolation up.

Shapes: B batch, C channels, *S = H W or D H W; strides are 1 or 2 per axis.

PyTorch's interpolation computes each output from its eight neighbours. Linear interpolation
separates by axis, so one pass per axis over whole slices is the same function. (Max pooling
separates too, but its backward pass does not become faster.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .convolution import CHANNELS_LAST, is_eager_on_cpu

MAX_POOL = {2: F.max_pool2d, 3: F.max_pool3d}
LINEAR_MODE = {2: "bilinear", 3: "trilinear"}


def max_pool(x: Tensor, stride: Sequence[int]) -> Tensor:
    """``x`` (B, C, *S) reduced by ``stride``, with max pooling over windows of that size."""
    return MAX_POOL[len(stride)](x, tuple(stride), tuple(stride))


def upsample(x: Tensor, stride: Sequence[int]) -> Tensor:
    """``x`` (B, C, *S) enlarged by ``stride``, with bi- or trilinear interpolation.

    Centres are aligned (``align_corners=False``), and border values are repeated.
    """
    stride = tuple(stride)
    if is_eager_on_cpu(x) and set(stride) <= {1, 2}:
        return _Upsample.apply(x, stride)
    return F.interpolate(
        x, scale_factor=[float(s) for s in stride], mode=LINEAR_MODE[len(stride)], align_corners=False
    )


def _empty(x: Tensor, axis: int, size: int) -> Tensor:
    """An empty tensor like ``x``, in its memory format, with another size along ``axis``."""
    shape = list(x.shape)
    shape[axis] = size
    memory_format = CHANNELS_LAST[x.ndim]
    if not x.is_contiguous(memory_format=memory_format):
        memory_format = torch.contiguous_format
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format)


def _halves(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Views of the even and the odd slices of ``x`` along ``axis``."""
    pairs = x.unflatten(axis, (-1, 2))
    return pairs.select(axis + 1, 0), pairs.select(axis + 1, 1)


class _Upsample(torch.autograd.Function):
    """Along one axis: y[2i] = (3 x[i] + x[i-1]) / 4 and y[2i+1] = (3 x[i] + x[i+1]) / 4.

    Border values are repeated.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: tuple[int, ...]) -> Tensor:
        ctx.axes = [2 + axis for axis, s in enumerate(stride) if s == 2]
        # The first axis comes last, so the largest arrays are written in the largest pieces.
        for axis in reversed(ctx.axes):
            size = x.shape[axis]
            y = _empty(x, axis, 2 * size)
            even, odd = _halves(y, axis)
            left, right = x.narrow(axis, 0, size - 1), x.narrow(axis, 1, size - 1)
            torch.lerp(right, left, 0.25, out=even.narrow(axis, 1, size - 1))
            torch.lerp(left, right, 0.25, out=odd.narrow(axis, 0, size - 1))
            even.select(axis, 0).copy_(x.select(axis, 0))
            odd.select(axis, -1).copy_(x.select(axis, -1))
            x = y
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        for axis in ctx.axes:
            even, odd = _halves(gradient, axis)
            size = even.shape[axis]
            # x[i] went into y[2i] and y[2i+2]; at the left border it went once more into y[0].
            # Odd slices are the mirror image.
            total, mirrored = _empty(gradient, axis, size), _empty(gradient, axis, size)
            for part, half, near, far, first, last in (
                (total, even, 0, 1, 0, -1),
                (mirrored, odd, 1, 0, -1, 0),
            ):
                inner = half.narrow(axis, near, size - 1), half.narrow(axis, far, size - 1)
                torch.lerp(*inner, 0.25, out=part.narrow(axis, near, size - 1))
                torch.mul(half.select(axis, last), 0.75, out=part.select(axis, last))
                part.select(axis, first).add_(half.select(axis, first), alpha=0.25)
            gradient = total.add_(mirrored)
        return gradient, None
