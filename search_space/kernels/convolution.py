"""Convolutions that keep the size, rearranged for speed on a CPU; the same functions as PyTorch's.

Shapes: B batch, C channels, *S = H W or D H W, *K the kernel's size. A "row" is the last axis of S.

oneDNN computes convolutions on a CPU. It is slow in two cases that are frequent in this search
space: the weight gradient of a dilated convolution (four times the time of a dense one), and fewer
than 16 output channels (half of each vector register is idle). Both have the same sums as a
convolution that is fast:

- Phases: a convolution of rate 2 never mixes voxels of even and odd coordinates. It is therefore a
  dense convolution on each of the 2^d sub-lattices, which are stacked in the batch.
- Pairs: two neighbours in a row are one voxel with twice the channels. (In channels-last memory,
  this is the same memory.) The kernel becomes a kernel between pairs, with zeros outside its
  support.

On other devices, and while a network is traced or compiled, these are PyTorch's own convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

CONV_FUNCTION = {2: F.conv2d, 3: F.conv3d}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
HALF_TYPES = (torch.bfloat16, torch.float16)
VECTOR_CHANNELS = 16
"""Output channels that fill a vector register (512 bits of float32 sums)."""


_rearranged = True


@contextmanager
def plain_operations() -> Iterator[None]:
    """A context in which PyTorch's own operations are used everywhere, as a reference."""
    global _rearranged
    before, _rearranged = _rearranged, False
    try:
        yield
    finally:
        _rearranged = before


def is_eager_on_cpu(x: Tensor) -> bool:
    """Whether operations on ``x`` are rearranged: on a CPU, not in tracing, export or compiling."""
    return (
        _rearranged
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch.onnx.is_in_onnx_export()
    )


def in_working_precision(x: Tensor) -> Tensor:
    """``x`` in autocast's type if autocast is on and ``x`` is not float64; otherwise ``x``."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
        return x.to(torch.get_autocast_dtype(kind))
    return x


def same_convolution(x: Tensor, kernel: Tensor, dilation: int = 1) -> Tensor:
    """The convolution of ``x`` with zero padding, (B, C_out, *S).

    Args:
        x: the feature map, (B, C_in, *S).
        kernel: (C_out, C_in, *K), K odd.
        dilation: the rate, along all axes.
    """
    if not is_eager_on_cpu(x):
        padding = [dilation * (size // 2) for size in kernel.shape[2:]]
        return CONV_FUNCTION[x.ndim - 2](x, kernel, None, 1, padding, dilation)
    kernel = in_working_precision(kernel)
    paired = _pairs_pay(x, kernel, dilation)
    if paired:
        kernel = pair_kernel(kernel)
    return _SameConvolution.apply(in_working_precision(x), kernel, dilation, paired)


class _SameConv2d(nn.Conv2d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return (
            same_convolution(x, weight, self.dilation[0])
            if _is_same(self)
            else super()._conv_forward(x, weight, bias)
        )


class _SameConv3d(nn.Conv3d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return (
            same_convolution(x, weight, self.dilation[0])
            if _is_same(self)
            else super()._conv_forward(x, weight, bias)
        )


SAME_CONV: dict[int, Callable[..., nn.Conv2d | nn.Conv3d]] = {2: _SameConv2d, 3: _SameConv3d}
"""PyTorch's modules; :func:`same_convolution` computes them for "same" padding without bias."""


def _is_same(module: nn.Conv2d | nn.Conv3d) -> bool:
    """Whether the fast form applies; strided and one-tap convolutions do not gain from it."""
    return set(module.stride) == {1} and set(module.kernel_size) != {1}


def pair_kernel(kernel: Tensor) -> Tensor:
    """The kernel (C_out, C_in, ..., K) as a kernel between pairs, (2 C_out, 2 C_in, ..., K').

    Output p of a pair takes input q of the m-th pair to its right with the tap at distance
    2 m + q - p.
    """
    reach = kernel.shape[-1] // 2
    pairs = (reach + 1) // 2  # number of pairs within reach on each side
    taps = 2 * (2 * pairs + 1)
    rows = []
    for p in (0, 1):
        # Distances from -2 pairs - p to 2 pairs + 1 - p.
        row = F.pad(kernel, (2 * pairs + p - reach, 2 * pairs + 1 - p - reach))
        rows.append(row.unflatten(-1, (taps // 2, 2)).movedim(-1, 1).flatten(1, 2))
    return torch.cat(rows)


def _pairs_pay(x: Tensor, kernel: Tensor, dilation: int) -> bool:
    """Whether pairs are faster: few channels, and a kernel long enough to multiply few zeros."""
    return (
        kernel.shape[0] < VECTOR_CHANNELS
        and kernel.shape[-1] >= 5
        and x.shape[-1] % (2 * dilation) == 0
        and x.is_contiguous(memory_format=CHANNELS_LAST[x.ndim])
    )


class _SameConvolution(torch.autograd.Function):
    """A "same" convolution that saves the feature map itself and not its phases.

    The backward pass makes the phases again, which is cheaper than memory. Without pairs, only the
    weight gradient uses phases: oneDNN's other two passes are fast at any dilation.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, dilation: int, paired: bool) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.dilation, ctx.paired = dilation, paired
        padding = [size // 2 for size in kernel.shape[2:]]
        convolve = CONV_FUNCTION[x.ndim - 2]
        if paired:
            y = convolve(_split(x, dilation, paired), kernel, None, 1, padding)
            return _join(y, x.shape[2:], dilation, paired)
        return convolve(x, kernel, None, 1, [dilation * p for p in padding], dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, kernel = ctx.saved_tensors
        dilation, paired = ctx.dilation, ctx.paired
        of_x, of_kernel = None, None
        memory_format = CHANNELS_LAST[x.ndim]
        if x.is_contiguous(memory_format=memory_format):
            gradient = gradient.contiguous(memory_format=memory_format)
        if paired:
            of_x, of_kernel = _convolution_backward(
                _split(gradient, dilation, True), _split(x, dilation, True), kernel, 1, ctx.needs_input_grad
            )
            if of_x is not None:
                of_x = _join(of_x, x.shape[2:], dilation, True)
        elif dilation == 1:
            of_x, of_kernel = _convolution_backward(gradient, x, kernel, 1, ctx.needs_input_grad)
        else:
            if ctx.needs_input_grad[0]:
                of_x, _ = _convolution_backward(gradient, x, kernel, dilation, (True, False))
            if ctx.needs_input_grad[1]:
                of_kernel = kernel_gradient(gradient, x, kernel, dilation)
        return of_x, of_kernel, None, None


def kernel_gradient(gradient: Tensor, x: Tensor, kernel: Tensor, dilation: int) -> Tensor:
    """The gradient (C_out, C_in, *K) of the kernel of a "same" convolution.

    Args:
        gradient: the gradient of the output, (B, C_out, *S).
        x: the input, (B, C_in, *S).
        kernel: the kernel; only its shape is used.
        dilation: the rate.
    """
    if dilation > 1 and is_eager_on_cpu(x):
        gradient, x, dilation = _phases(gradient, dilation), _phases(x, dilation), 1
    _, of_kernel = _convolution_backward(gradient, x, kernel, dilation, (False, True))
    assert of_kernel is not None
    return of_kernel


def _convolution_backward(
    gradient: Tensor, x: Tensor, kernel: Tensor, dilation: int, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of a convolution for its feature map and its kernel, where ``needed``."""
    dims, dtype = x.ndim - 2, x.dtype
    padding = [dilation * (size // 2) for size in kernel.shape[2:]]
    if (
        needed[1]
        and x.dtype in HALF_TYPES
        and any(s < k for s, k in zip(x.shape[2:], kernel.shape[2:], strict=True))
    ):
        # In bfloat16, oneDNN (3.x, AVX-512 and AMX) leaves parts of such a kernel's gradient
        # uninitialised.
        x, gradient, kernel = x.float(), gradient.float(), kernel.float()
    of_x, of_kernel, _ = torch.ops.aten.convolution_backward(
        gradient, x, kernel, None, [1] * dims, padding, [dilation] * dims, False, [0] * dims, 1,
        [needed[0], needed[1], False],
    )  # fmt: skip
    if of_x is not None:
        of_x = of_x.to(dtype)
    return of_x, None if of_kernel is None else of_kernel.to(dtype)


def _split(x: Tensor, dilation: int, paired: bool) -> Tensor:
    """``x`` (B, C, *S) in phases, (rate^d B, C, *S / rate), and in pairs: row halved, C doubled."""
    if dilation > 1:
        x = _phases(x, dilation)
    if paired:
        x = x.movedim(1, -1).unflatten(-2, (-1, 2)).flatten(-2).movedim(-1, 1)
    return x


def _join(y: Tensor, size: Sequence[int], dilation: int, paired: bool) -> Tensor:
    """The inverse of :func:`_split`, for a feature map of spatial ``size``."""
    if paired:
        y = y.movedim(1, -1).unflatten(-1, (2, -1)).flatten(-3, -2).movedim(-1, 1)
    return _from_phases(y, size, dilation) if dilation > 1 else y


def _phases(x: Tensor, rate: int) -> Tensor:
    """The sub-lattices of ``x``, stacked in the batch; zeros fill sizes to a multiple of rate."""
    dims = x.ndim - 2
    fill = [-size % rate for size in x.shape[2:]]
    if any(fill):
        x = F.pad(x, [side for f in reversed(fill) for side in (0, f)])
    channels_last = x.is_contiguous(memory_format=CHANNELS_LAST[x.ndim])
    dtype = x.dtype
    x = _in_chunks(x.movedim(1, -1))
    for axis in range(dims):
        x = x.unflatten(1 + 2 * axis, (-1, rate))  # B, S_0 / rate, rate, S_1 ... C
    x = x.permute(*range(2, 2 * dims + 1, 2), 0, *range(1, 2 * dims, 2), 2 * dims + 1)
    phases = x.flatten(0, dims).view(dtype)  # copies
    return phases.movedim(-1, 1) if channels_last else phases.movedim(-1, 1).contiguous()


def _from_phases(y: Tensor, size: Sequence[int], rate: int) -> Tensor:
    """The inverse of :func:`_phases`."""
    dims = y.ndim - 2
    dtype = y.dtype
    y = _in_chunks(y.movedim(1, -1)).unflatten(0, (*(rate,) * dims, -1))  # rate ..., B, S_0 / rate, ..., C
    order = [dims]
    for axis in range(dims):
        order += [dims + 1 + axis, axis]
    y = y.permute(*order, 2 * dims + 1)
    for axis in range(dims):
        y = y.flatten(1 + axis, 2 + axis)
    y = y.view(dtype).movedim(-1, 1)
    for axis, length in enumerate(size, start=2):
        y = y.narrow(axis, 0, length)
    return y


def _in_chunks(x: Tensor) -> Tensor:
    """``x`` (..., C) as items of 16 bytes if C fits; a strided copy moves one item at a time."""
    if x.is_contiguous() and x.shape[-1] * x.element_size() % 16 == 0:
        return x.view(torch.complex128)
    return x
