"""A search in several processes: gradients are averaged, and nothing may drift apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn


def num_processes() -> int:
    """The processes that search together; 1 if this one is alone."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes; its gradient in each process is the sum over all, too."""
    result: Tensor = _Sum.apply(tensor)
    return result


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces each gradient by its mean over all processes.

    Every process must have gradients for the same parameters. All end with the same bits.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if num_processes() == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= num_processes()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def are_equal_everywhere(tensors: Iterable[Tensor]) -> bool:
    """Whether the tensors hold the same bits in all processes."""
    values = [tensor.detach().flatten().float() for tensor in tensors]
    if num_processes() == 1 or not values:
        return True
    flat = torch.cat(values)
    # The largest of x and of -x in one message: they cancel where all are equal. NaN never does.
    extremes = torch.stack([flat, -flat])
    distributed.all_reduce(extremes, op=distributed.ReduceOp.MAX)
    return bool((extremes[0] == -extremes[1]).all())
