"""The weighted sum of kernels of different sizes, which a folded layer uses.

Shapes: C channels, *K a kernel's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def add_kernels(terms: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """sum_i a_i K_i over the largest support, (C_out, C_in, *K).

    Args:
        terms: weights (scalars) and kernels (C_out, C_in, *K_i) with odd K_i; all kernels have the
            same centre.
    """
    weights, kernels = zip(*terms, strict=True)
    return _AddKernels.apply(len(terms), *weights, *kernels)


class _AddKernels(torch.autograd.Function):
    """Adds each kernel into the middle of the sum, without padded copies.

    Kernels are large: at the coarse levels, they are larger than feature maps.
    """

    @staticmethod
    def forward(ctx: Any, num_terms: int, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        weights, kernels = tensors[:num_terms], tensors[num_terms:]
        support = [max(sizes) for sizes in zip(*(kernel.shape[2:] for kernel in kernels), strict=True)]
        total: Tensor | None = None
        first: Tensor | None = None
        for weight, kernel in zip(weights, kernels, strict=True):
            if total is None and list(kernel.shape[2:]) == support:
                total = kernel * weight
                first = kernel
        if total is None:
            total, first = kernels[0].new_zeros(*kernels[0].shape[:2], *support), None
        for weight, kernel in zip(weights, kernels, strict=True):
            if kernel is not first:
                middle(total, kernel).add_(kernel * weight)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors  # under activation checkpointing it may be read only once
        num_terms = len(tensors) // 2
        weights, kernels = tensors[:num_terms], tensors[num_terms:]
        of_weights: list[Tensor | None] = []
        of_kernels: list[Tensor | None] = []
        for index, (weight, kernel) in enumerate(zip(weights, kernels, strict=True)):
            part = middle(gradient, kernel)
            of_weights.append((part * kernel).sum() if ctx.needs_input_grad[1 + index] else None)
            of_kernels.append(part * weight if ctx.needs_input_grad[1 + num_terms + index] else None)
        return None, *of_weights, *of_kernels


def middle(total: Tensor, kernel: Tensor) -> Tensor:
    """The part of ``total`` that ``kernel`` covers if both are centred, as a view."""
    for axis in range(2, total.ndim):
        margin = (total.shape[axis] - kernel.shape[axis]) // 2
        total = total.narrow(axis, margin, kernel.shape[axis])
    return total
