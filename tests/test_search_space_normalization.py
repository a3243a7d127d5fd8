"""Norm and activation in one step against PyTorch's two."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from search_space.kernels.convolution import CHANNELS_LAST, plain_operations
from search_space.kernels.normalization import NormAct


@pytest.mark.parametrize("size", [(5, 6), (2, 1), (3, 4, 5)])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_same_function_and_gradients(size: tuple[int, ...], channels_last: bool, scale: float | None) -> None:
    torch.manual_seed(0)
    module = NormAct(4, len(size)).double()
    weight, bias = module[0].weight, module[0].bias
    torch.nn.init.normal_(weight), torch.nn.init.normal_(bias)
    x = torch.randn(3, 4, *size, dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=CHANNELS_LAST[x.ndim])
    x.requires_grad_()
    factor = None if scale is None else torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    inputs = [x, weight, bias] + ([] if factor is None else [factor])
    expected = F.leaky_relu(F.instance_norm(x, weight=weight, bias=bias), 0.01)
    expected = expected if factor is None else expected * factor
    actual = module(x) if factor is None else module(x, factor)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    g = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(actual, inputs, g), torch.autograd.grad(expected, inputs, g), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_bfloat16_and_channels_last_stay() -> None:
    module = NormAct(8, 3)
    x = torch.randn(2, 8, 4, 4, 4).to(torch.bfloat16, memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(y.float(), module(x.float()), rtol=0.02, atol=0.02)


def test_a_single_voxel_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        NormAct(4, 3)(torch.randn(2, 4, 1, 1, 1))


def test_plain_operations_agree() -> None:
    module = NormAct(4, 2)
    x = torch.randn(2, 4, 6, 6)
    with plain_operations():
        expected = module(x)
    torch.testing.assert_close(module(x), expected)
