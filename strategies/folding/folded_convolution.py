"""A group of weighted convolutions of one feature map as a single convolution.

Shapes: B batch, C channels, *S = H W or D H W, *K a kernel's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from search_space.kernels.convolution import (
    CONV_FUNCTION,
    in_working_precision,
    is_eager_on_cpu,
    kernel_gradient,
    same_convolution,
)

from .kernel_sum import add_kernels, middle


def folded_convolution(
    x: Tensor, terms: Sequence[tuple[Tensor, Tensor]], stride: tuple[int, ...], dilation: int
) -> Tensor:
    """The sum of weighted convolutions as one convolution, (B, C_out, *S / stride).

    sum_i a_i (K_i * x) = (sum_i a_i K_i) * x, because convolution is linear in its kernel.

    Args:
        x: the feature map, (B, C_in, *S).
        terms: positive weights (scalars) and kernels (C_out, C_in, *K_i) with odd K_i.
        stride: one value per axis.
        dilation: the rate, along all axes.
    """
    kernel = add_kernels(terms)
    if set(stride) != {1}:
        padding = [dilation * (size // 2) for size in kernel.shape[2:]]
        return CONV_FUNCTION[x.ndim - 2](x, kernel, None, stride, padding, dilation)
    y = same_convolution(x, kernel.detach() if _only_weights_vary(x, terms) else kernel, dilation)
    if not _only_weights_vary(x, terms):
        return y
    weights, kernels = zip(*terms, strict=True)
    return _WeightGradients.apply(
        y, in_working_precision(x.detach()), dilation, len(terms), *weights, *kernels
    )


def _only_weights_vary(x: Tensor, terms: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Whether this is an architecture step, in which the kernels are fixed."""
    return (
        is_eager_on_cpu(x)
        and torch.is_grad_enabled()
        and any(weight.requires_grad for weight, _ in terms)
        and not any(kernel.requires_grad for _, kernel in terms)
    )


class _WeightGradients(torch.autograd.Function):
    """Returns y = (sum_i a_i K_i) * x unchanged; gives the gradients of a_i for fixed K_i.

    With the gradient G of the summed kernel, each of them is <G, K_i>, but G costs as much as the
    convolution. y is linear in the weights, so sum_i a_i dL/da_i = <dL/dy, y>. The gradient for the
    largest kernel therefore follows from the others. These need only the middle of G: 3x3x3 of
    5x5x5 taps.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, dilation: int, num_terms: int, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(y, x, *tensors)
        ctx.dilation, ctx.num_terms = dilation, num_terms
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        y, x, *tensors = ctx.saved_tensors
        weights, kernels = tensors[: ctx.num_terms], tensors[ctx.num_terms :]
        sizes = [kernel[0, 0].numel() for kernel in kernels]
        largest = sizes.index(max(sizes))
        others = [index for index in range(len(kernels)) if index != largest]
        remainder = (gradient * y).sum(dtype=weights[0].dtype)
        of_weights: list[Tensor | None] = [None] * len(kernels)
        if others:
            support = [max(kernels[index].shape[axis] for index in others) for axis in range(2, x.ndim)]
            shape = x.new_empty(*kernels[0].shape[:2], *support)
            of_middle = kernel_gradient(gradient, x, shape, ctx.dilation).to(kernels[0].dtype)
            for index in others:
                of_weight = (middle(of_middle, kernels[index]) * kernels[index]).sum()
                remainder = remainder - weights[index] * of_weight
                of_weights[index] = of_weight
        # The clamp avoids 0 / 0. The softmax multiplies the gradient of a vanished weight by 0.
        smallest = torch.finfo(weights[largest].dtype).tiny
        of_weights[largest] = remainder / weights[largest].clamp_min(smallest)
        return gradient, None, None, None, *of_weights, *([None] * len(kernels))
