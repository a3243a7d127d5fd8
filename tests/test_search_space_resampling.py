"""Interpolation by slices against PyTorch's, and by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from search_space.kernels.convolution import CHANNELS_LAST
from search_space.kernels.resampling import LINEAR_MODE, max_pool, upsample

CASES = [
    ((3, 4), (2, 2)),
    ((1, 4), (2, 2)),
    ((3, 4), (1, 2)),
    ((2, 3, 4), (2, 2, 2)),
    ((1, 1, 1), (2, 2, 2)),
    ((2, 3, 4), (2, 1, 2)),
    ((3, 2, 5), (1, 1, 2)),
]


@pytest.mark.parametrize(("size", "stride"), CASES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_upsample_is_interpolate(size: tuple[int, ...], stride: tuple[int, ...], channels_last: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=CHANNELS_LAST[x.ndim])
    x.requires_grad_()
    expected = F.interpolate(
        x, scale_factor=[float(s) for s in stride], mode=LINEAR_MODE[len(size)], align_corners=False
    )
    actual = upsample(x, stride)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    g = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, x, g)[0] for y in (actual, expected))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_upsample_by_hand() -> None:
    """Centres of the fine voxels lie a quarter to either side; outside, the edge is repeated."""
    x = torch.tensor([[[[0.0, 4.0, 8.0]]]])
    assert upsample(x, (1, 2)).tolist() == [[[[0.0, 1.0, 3.0, 5.0, 7.0, 8.0]]]]


def test_upsample_is_not_only_right_for_channels_first_slices() -> None:
    """A part of a feature map, as several projections in one convolution give it, is no dense tensor."""
    x = torch.randn(1, 6, 3, 4).contiguous(memory_format=torch.channels_last)
    part = x[:, 2:5]
    torch.testing.assert_close(upsample(part, (2, 2)), upsample(part.contiguous(), (2, 2)))


def test_upsample_keeps_bfloat16_and_channels_last() -> None:
    x = torch.randn(1, 8, 2, 3, 4).to(torch.bfloat16, memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16):
        y = upsample(x, (2, 2, 2))
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(y.float(), upsample(x.float(), (2, 2, 2)), rtol=0.02, atol=0.02)


def test_max_pool_by_hand() -> None:
    x = torch.tensor([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, -1.0, 9.0]]]])
    assert max_pool(x, (2, 2)).tolist() == [[[[5.0, 9.0]]]]
    assert max_pool(x, (1, 2)).tolist() == [[[[5.0, 2.0], [4.0, 9.0]]]]
