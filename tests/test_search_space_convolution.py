"""Rearranged convolutions are PyTorch's convolutions: outputs and gradients in float64, each special case by itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_space.kernels import convolution
from search_space.kernels.convolution import (
    CHANNELS_LAST,
    CONV_FUNCTION,
    kernel_gradient,
    pair_kernel,
    plain_operations,
    same_convolution,
)

SIZES = {
    2: [(7, 12), (1, 4)],
    3: [(6, 5, 8), (5, 7, 5), (2, 2, 2)],
}  # even and odd, smaller than the kernels' reach
CASES = [
    (size, channels, kernel_size, dilation, channels_last)
    for dims in (2, 3)
    for size, channels, kernel_size, dilation, channels_last in itertools.product(
        SIZES[dims], [(1, 3), (4, 4)], (3, 5), (1, 2, 3), (False, True)
    )
]


def tensors(size: tuple[int, ...], channels: tuple[int, int], kernel_size: int, channels_last: bool) -> Any:
    torch.manual_seed(0)
    x = torch.randn(2, channels[0], *size, dtype=torch.float64)
    kernel = torch.randn(channels[1], channels[0], *(kernel_size,) * len(size), dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=CHANNELS_LAST[x.ndim])
    return x.requires_grad_(), kernel.requires_grad_()


def reference(x: Tensor, kernel: Tensor, dilation: int) -> Tensor:
    padding = [dilation * (k // 2) for k in kernel.shape[2:]]
    return CONV_FUNCTION[x.ndim - 2](x, kernel, None, 1, padding, dilation)


@pytest.mark.parametrize(("size", "channels", "kernel_size", "dilation", "channels_last"), CASES)
def test_same_function_and_gradients(
    size: tuple[int, ...], channels: tuple[int, int], kernel_size: int, dilation: int, channels_last: bool
) -> None:
    x, kernel = tensors(size, channels, kernel_size, channels_last)
    expected = reference(x, kernel, dilation)
    actual = same_convolution(x, kernel, dilation)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)
    weight = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(actual, (x, kernel), weight),
        torch.autograd.grad(expected, (x, kernel), weight),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    ours = kernel_gradient(weight, x.detach(), kernel, dilation)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_pairs_are_used_where_they_pay() -> None:
    """Else the test above would not have covered them."""
    x, kernel = tensors((6, 5, 8), (4, 4), 5, channels_last=True)
    assert convolution._pairs_pay(x, kernel, 1)
    assert convolution._pairs_pay(x, kernel, 2)
    assert not convolution._pairs_pay(x.contiguous(), kernel, 1)  # would need a copy
    assert not convolution._pairs_pay(x, kernel[..., 1:4], 1)  # too many zeros
    x, kernel = tensors((6, 5, 8), (4, 16), 5, channels_last=True)
    assert not convolution._pairs_pay(x, kernel, 1)  # vectors are full already


def test_pair_kernel_by_hand() -> None:
    """Taps (a, b, c) at distances -1, 0, 1: output 0 of a pair sees a at input 1 of the pair to its left, and so on."""
    a, b, c = 1.0, 2.0, 3.0
    paired = pair_kernel(torch.tensor([[[a, b, c]]]))
    assert paired.tolist() == [[[0, b, 0], [a, c, 0]], [[0, a, c], [0, b, 0]]]


def test_frozen_kernel_gets_no_gradient() -> None:
    x, kernel = tensors((6, 5, 8), (4, 4), 5, channels_last=True)
    kernel.requires_grad_(False)
    same_convolution(x, kernel, 2).sum().backward()
    assert x.grad is not None
    assert kernel.grad is None


def test_autocast_computes_in_bfloat16() -> None:
    x, kernel = (t.detach().float() for t in tensors((6, 5, 8), (4, 4), 5, channels_last=True))
    with torch.autocast("cpu", torch.bfloat16):
        y = same_convolution(x, kernel)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), reference(x, kernel, 1), rtol=0.05, atol=0.5)


@pytest.mark.parametrize("size", [(2, 2, 2), (4, 4, 4), (3, 8, 8), (1, 4, 4)])
@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_kernels_larger_than_the_feature_map_in_bfloat16(
    size: tuple[int, ...], kernel_size: int, dilation: int
) -> None:
    """oneDNN's own gradient of such a kernel is in parts whatever the memory held before: 1e30 here."""
    torch.manual_seed(0)
    size = tuple(dilation * s for s in size)  # one phase has the size
    x = torch.randn(2, 16, *size).bfloat16().contiguous(memory_format=torch.channels_last_3d)
    kernel = torch.randn(16, 16, *(kernel_size,) * 3).bfloat16().requires_grad_()
    for _ in range(3):
        poison = [torch.full((number,), 1e30) for number in (10**4, 10**5, 10**6)]
        del poison
        actual = torch.autograd.grad(same_convolution(x, kernel, dilation).sum(), kernel)[0]
        assert actual.dtype == torch.bfloat16
        expected = torch.autograd.grad(reference(x.double(), kernel.double(), dilation).sum(), kernel)[0]
        torch.testing.assert_close(actual, expected, rtol=0.05, atol=0.05 * expected.abs().max().item())


def test_plain_operations_switch_off_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(convolution._SameConvolution, "apply", lambda *args: calls.append(args))
    x, kernel = tensors((7, 12), (4, 4), 3, channels_last=False)
    with plain_operations():
        assert same_convolution(x, kernel) is not None
    assert not calls
    same_convolution(x, kernel)
    assert len(calls) == 1


def test_a_kernel_of_seven() -> None:
    x, kernel = tensors((3, 8), (2, 2), 7, channels_last=True)
    assert convolution._pairs_pay(x, kernel, 1)
    torch.testing.assert_close(same_convolution(x, kernel), reference(x, kernel, 1))


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_the_module_calls_it_and_can_be_traced() -> None:
    module = convolution.SAME_CONV[2](3, 4, 5, padding=4, dilation=2, bias=False)
    x = torch.randn(1, 3, 8, 8)
    traced = torch.jit.trace(module, x)
    assert "same_convolution" not in str(traced.graph) and "_convolution" in str(traced.graph)
    torch.testing.assert_close(traced(x), module(x))
    assert isinstance(module, nn.Conv2d)
