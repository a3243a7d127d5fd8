"""Every operation against loops over taps and windows written out here."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.layers import (
    AvgPoolProject,
    NormAct,
    Pseudo3d,
    build_operation,
    max_pool,
    upsample,
)
from search_space.operations import legal_operations

torch.set_num_threads(1)

SIZES = {2: (6, 8), 3: (4, 6, 8)}
STRIDES = {2: [(2, 2), (2, 1), (1, 2)], 3: [(2, 2, 2), (2, 2, 1), (1, 2, 2), (1, 1, 2)]}
EVERY_STRIDE = [(dims, stride) for dims in (2, 3) for stride in STRIDES[dims]]
EVERY_OPERATION = [
    (dims, kind, name)
    for dims in (2, 3)
    for kind in ("normal", "reduction", "expansion")
    for name in legal_operations(kind, dims)
]


def image(dims: int, channels: int = 3) -> Tensor:
    torch.manual_seed(dims)
    return torch.randn(2, channels, *SIZES[dims], dtype=torch.float64)


def operation(name: str, dims: int, stride: Sequence[int] | None = None, in_channels: int = 3) -> nn.Module:
    """To 4 channels, with every parameter drawn at random, those of norms too."""
    torch.manual_seed(7)
    module = build_operation(name, in_channels, 4, stride or (1,) * dims).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def convolve(x: Tensor, kernel: Tensor, stride: Sequence[int] | None = None, rate: int = 1) -> Tensor:
    """Tap by tap: y[o] at p = sum over c and taps t of K[o, c, t] x[c] at stride * p + rate * (t - centre)."""
    size, dims = x.shape[2:], x.ndim - 2
    stride = tuple(stride or (1,) * dims)
    reach = [rate * (k // 2) for k in kernel.shape[2:]]
    padded = F.pad(x, [side for r in reversed(reach) for side in (r, r)])
    y = x.new_zeros(x.shape[0], kernel.shape[0], *[-(-s // st) for s, st in zip(size, stride, strict=True)])
    for tap in itertools.product(*map(range, kernel.shape[2:])):
        window = padded
        for axis, (t, s, st) in enumerate(zip(tap, size, stride, strict=True), start=2):
            window = window.narrow(axis, rate * t, s).index_select(axis, torch.arange(0, s, st))
        y = y + torch.einsum("oc,bc...->bo...", kernel[(..., *tap)], window)
    return y


def windows(x: Tensor, stride: Sequence[int]) -> Tensor:
    """The voxels of each pooling window, last axis: (B, C, *S / stride, prod(stride))."""
    parts = []
    for offset in itertools.product(*map(range, stride)):
        part = x
        for axis, (start, st) in enumerate(zip(offset, stride, strict=True), start=2):
            part = part.index_select(axis, torch.arange(start, part.shape[axis], st))
        parts.append(part)
    return torch.stack(parts, dim=-1)


def project(x: Tensor, kernel: Tensor) -> Tensor:
    """A 1x1x1 convolution."""
    return torch.einsum("oc,bc...->bo...", kernel.flatten(1), x)


def interpolate(x: Tensor, stride: Sequence[int]) -> Tensor:
    """Axis by axis: a new voxel lies a quarter of an old one from its own centre, three from the neighbour's."""
    for axis, st in enumerate(stride, start=2):
        if st == 1:
            continue
        last = x.shape[axis] - 1
        new = []
        for i in range(last + 1):
            here, before, after = (x.select(axis, k) for k in (i, max(i - 1, 0), min(i + 1, last)))
            new += [0.75 * here + 0.25 * before, 0.75 * here + 0.25 * after]
        x = torch.stack(new, dim=axis)
    return x


def normalise(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Instance norm and LeakyReLU(0.01), channel by channel."""
    y = torch.empty_like(x)
    for b, c in itertools.product(range(x.shape[0]), range(x.shape[1])):
        channel = x[b, c]
        spread = (channel - channel.mean()).square().mean() + 1e-5
        y[b, c] = (channel - channel.mean()) / spread.sqrt() * scale[c] + shift[c]
    return torch.where(y > 0, y, 0.01 * y)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


CONVOLUTIONS = [  # name, dimensions, kernel size, rate
    ("conv3", 2, (3, 3), 1),
    ("conv3", 3, (3, 3, 3), 1),
    ("conv3x3x1", 3, (3, 3, 1), 1),
    ("conv5", 2, (5, 5), 1),
    ("conv5", 3, (5, 5, 5), 1),
    ("conv3_rate2", 2, (3, 3), 2),
    ("conv3_rate2", 3, (3, 3, 3), 2),
    ("conv5_rate2", 2, (5, 5), 2),
    ("conv5_rate2", 3, (5, 5, 5), 2),
]


@pytest.mark.parametrize(("name", "dims", "size", "rate"), CONVOLUTIONS)
def test_convolution_tap_by_tap(name: str, dims: int, size: tuple[int, ...], rate: int) -> None:
    module, x = operation(name, dims), image(dims)
    kernel = module.kernel()
    assert kernel.shape == (4, 3, *size)
    same(module(x), convolve(x, kernel, rate=rate))


@pytest.mark.parametrize(("name", "dims", "size", "rate"), CONVOLUTIONS)
def test_kernel_that_is_1_only_at_its_centre(name: str, dims: int, size: tuple[int, ...], rate: int) -> None:
    module, x = build_operation(name, 3, 3, (1,) * dims).double(), image(dims)
    with torch.no_grad():
        module.kernel().zero_()
        for channel in range(3):
            module.kernel()[(channel, channel, *[s // 2 for s in size])] = 1
    assert torch.equal(module(x), x)


@pytest.mark.parametrize(("name", "dims", "size", "rate"), CONVOLUTIONS)
def test_receptive_field(name: str, dims: int, size: tuple[int, ...], rate: int) -> None:
    # Rate 2 looks at every second voxel: 3 taps span 5 voxels, 5 taps span 9.
    module = operation(name, dims, in_channels=1)
    x = torch.zeros(1, 1, *(11,) * dims, dtype=torch.float64, requires_grad=True)
    module(x)[(0, 0, *(5,) * dims)].backward()
    seen = {tuple(i - 5 for i in place) for place in x.grad[0, 0].nonzero().tolist()}
    assert seen == set(itertools.product(*[[rate * (i - s // 2) for i in range(s)] for s in size]))


def test_pseudo_3d_is_in_plane_then_through_plane() -> None:
    module, x = operation("pseudo3d", 3), image(3)
    in_plane, through_plane = module.in_plane.conv.weight, module.through_plane.conv.weight
    assert (in_plane.shape, through_plane.shape) == ((4, 3, 3, 3, 1), (4, 4, 1, 1, 3))
    same(module(x), convolve(convolve(x, in_plane), through_plane))


def test_composed_kernel_of_pseudo_3d_does_the_same() -> None:
    module, x = operation("pseudo3d", 3), image(3)
    assert isinstance(module, Pseudo3d)
    assert module.kernel().shape == (4, 3, 3, 3, 3)
    same(convolve(x, module.kernel()), module(x))  # borders included


@pytest.mark.parametrize("dims", [2, 3])
def test_double_convolution_has_norm_and_activation_in_between(dims: int) -> None:
    module, x = operation("2xconv3", dims), image(dims)
    first, second = module[0].kernel(), module[2].kernel()
    assert (first.shape[:2], second.shape[:2]) == ((4, 3), (4, 4))
    same(module(x), convolve(normalise(convolve(x, first), module[1][0].weight, module[1][0].bias), second))


@pytest.mark.parametrize("dims", [2, 3])
def test_norm_act_channel_by_channel(dims: int) -> None:
    x = image(dims)
    module = NormAct(3, dims).double()
    nn.init.normal_(module[0].weight)
    nn.init.normal_(module[0].bias)
    same(module(x.clone()), normalise(x, module[0].weight, module[0].bias))


@pytest.mark.parametrize(("dims", "stride"), EVERY_STRIDE)
def test_max_pooling_window_by_window(dims: int, stride: tuple[int, ...]) -> None:
    module, x = operation("max_pool", dims, stride), image(dims)
    same(module(x), project(windows(x, stride).amax(-1), module.project.kernel()))
    assert torch.equal(max_pool(x, stride), windows(x, stride).amax(-1))


@pytest.mark.parametrize(("dims", "stride"), EVERY_STRIDE)
def test_average_pooling_window_by_window(dims: int, stride: tuple[int, ...]) -> None:
    module, x = operation("avg_pool", dims, stride), image(dims)
    same(module(x), project(windows(x, stride).mean(-1), module.project.kernel()))


@pytest.mark.parametrize(("dims", "stride"), EVERY_STRIDE)
def test_kernel_of_average_pooling_does_the_same(dims: int, stride: tuple[int, ...]) -> None:
    module, x = operation("avg_pool", dims, stride), image(dims)
    assert isinstance(module, AvgPoolProject)
    assert module.kernel().shape == (4, 3, *(3,) * dims)
    same(convolve(x, module.kernel(), stride), module(x))


@pytest.mark.parametrize(("dims", "stride"), EVERY_STRIDE)
def test_strided_convolution_tap_by_tap(dims: int, stride: tuple[int, ...]) -> None:
    module, x = operation("conv3_stride2", dims, stride), image(dims)
    assert module.kernel().shape == (4, 3, *(3,) * dims)
    same(module(x), convolve(x, module.kernel(), stride))


@pytest.mark.parametrize(("dims", "stride"), EVERY_STRIDE)
def test_transposed_convolution_voxel_by_voxel(dims: int, stride: tuple[int, ...]) -> None:
    module, x = operation("transposed_conv", dims, stride), image(dims)
    kernel = module.conv.weight  # (C_in, C_out, *stride)
    assert kernel.shape == (3, 4, *stride)
    expected = x.new_zeros(2, 4, *[s * st for s, st in zip(SIZES[dims], stride, strict=True)])
    for place in itertools.product(*map(range, SIZES[dims])):
        for tap in itertools.product(*map(range, stride)):
            target = tuple(p * st + t for p, st, t in zip(place, stride, tap, strict=True))
            expected[(..., *target)] = torch.einsum("bc,co->bo", x[(..., *place)], kernel[(..., *tap)])
    same(module(x), expected)


@pytest.mark.parametrize(("dims", "stride"), EVERY_STRIDE)
def test_interpolation_axis_by_axis(dims: int, stride: tuple[int, ...]) -> None:
    module, x = operation("interpolate", dims, stride), image(dims)
    same(module(x), interpolate(project(x, module.project.kernel()), stride))
    same(upsample(x, stride), interpolate(x, stride))


def test_interpolation_of_a_step_by_hand() -> None:
    step = torch.tensor([[[[0.0, 4.0]]]])
    assert upsample(step, (1, 2)).tolist() == [[[[0.0, 1.0, 3.0, 4.0]]]]


@pytest.mark.parametrize(("dims", "kind", "name"), EVERY_OPERATION)
def test_zero_in_zero_out(dims: int, kind: str, name: str) -> None:
    channels = 4 if name == "identity" else 3
    module = operation(name, dims, (1,) * dims if kind == "normal" else (2,) * dims, in_channels=channels)
    biases = {key: value for key, value in module.named_parameters() if "bias" in key}
    for bias in biases.values():  # the norm inside a block is affine
        nn.init.zeros_(bias)
    inner_norm = {"2xconv3": "1.0.bias", "res2xconv3": "convolutions.1.0.bias", "large_kernel": "norm.0.bias"}
    assert list(biases) == ([inner_norm[name]] if name in inner_norm else [])
    assert not module(torch.zeros_like(image(dims, channels))).any()


@pytest.mark.parametrize(("dims", "kind", "name"), EVERY_OPERATION)
def test_only_linear_operations_offer_a_kernel(dims: int, kind: str, name: str) -> None:
    """What says ``kernel()`` must be homogeneous and additive, or supernets that add kernels would be wrong."""
    channels = 4 if name == "identity" else 3
    module = operation(name, dims, (1,) * dims if kind == "normal" else (2,) * dims, in_channels=channels)
    a = image(dims, channels)
    b = torch.randn(a.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    is_linear = torch.allclose(module(2 * a - 3 * b), 2 * module(a) - 3 * module(b), rtol=0, atol=1e-10)
    assert is_linear == (name not in ("2xconv3", "res2xconv3", "large_kernel", "max_pool"))
    assert is_linear or not hasattr(module, "kernel")


def test_identity_keeps_the_channels() -> None:
    with pytest.raises(ValueError, match="identity cannot turn 3 channels into 4"):
        build_operation("identity", 3, 4, (1, 1))


@pytest.mark.parametrize(("name", "dims"), [("conv4", 3), ("", 2), ("conv3x3x1", 2), ("pseudo3d", 2)])
def test_an_unknown_operation(name: str, dims: int) -> None:
    with pytest.raises(KeyError, match=repr(name)):
        build_operation(name, 2, 2, (1,) * dims)
