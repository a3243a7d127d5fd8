"""The operations of a building block as modules (section 2.1), in 2-D and 3-D from one code path.

Shapes: B batch, C channels, *S = H W or D H W. Every operation maps (B, C_in, *S) to (B, C_out, *S'), where S' is S
(normal), S / stride (reduction) or S * stride (expansion). None has a bias, and normalisation and activation follow
the mixture of a layer's candidates (:class:`NormAct`), so that a candidate that is a single convolution is linear.
Such a candidate says so by its method ``kernel()``: sum_i alpha_i O_i(x) is then one convolution with the kernel
sum_i alpha_i K_i. The others have ``scaled(x, weight)``, which gives weight O(x) without multiplying a feature map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .kernels.convolution import CONV_FUNCTION, SAME_CONV
from .kernels.normalization import NormAct
from .kernels.resampling import max_pool, upsample
from .operations import KINDS, legal_operations

CONV: dict[int, Callable[..., nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONV: dict[int, Callable[..., nn.ConvTranspose2d | nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
TRANSPOSED_CONV_FUNCTION = {2: F.conv_transpose2d, 3: F.conv_transpose3d}
AVG_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}


class Convolution(nn.Module):
    """One convolution without bias that keeps the size (divided by its stride); linear.

    Args:
        kernel_size: odd, one value per axis.
        stride: one value per axis.
        dilation: the rate of a dilated ("rate 2") convolution, along all axes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        stride: Sequence[int] | None = None,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        dims = len(kernel_size)
        self.stride = tuple(stride or (1,) * dims)
        self.dilation = dilation
        padding = tuple(dilation * (k // 2) for k in kernel_size)
        self.conv = SAME_CONV[dims](
            in_channels,
            out_channels,
            tuple(kernel_size),
            stride=self.stride,
            padding=padding,
            dilation=dilation,
            bias=False,
        )

    def kernel(self) -> Tensor:
        """The kernel, (C_out, C_in, *K)."""
        return self.conv.weight

    def scaled(self, x: Tensor, weight: Tensor) -> Tensor:
        """``weight`` times the output."""
        return CONV_FUNCTION[x.ndim - 2](
            x, self.kernel() * weight, None, self.stride, self.conv.padding, self.dilation
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Pseudo3d(nn.Module):
    """3x3x1, then 1x1x3 convolution with nothing in between; linear.

    The first one does not reach along the last axis, so the padding between the two holds zeros either way and the
    composed kernel (:meth:`kernel`) gives the same output up to rounding.
    """

    dilation = 1
    stride = (1, 1, 1)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_plane = Convolution(in_channels, out_channels, (3, 3, 1))
        self.through_plane = Convolution(out_channels, out_channels, (1, 1, 3))

    def kernel(self) -> Tensor:
        """The composed kernel, (C_out, C_in, 3, 3, 3)."""
        return torch.einsum(
            "omc,miab->oiabc", self.through_plane.kernel()[:, :, 0, 0], self.in_plane.kernel()[..., 0]
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.through_plane(self.in_plane(x))


class DoubleConvolution(nn.Sequential):
    """2 x 3x3x3 convolution with norm and activation in between; not linear."""

    def __init__(self, in_channels: int, out_channels: int, spatial_dims: int) -> None:
        size = (3,) * spatial_dims
        super().__init__(
            Convolution(in_channels, out_channels, size),
            NormAct(out_channels, spatial_dims),
            Convolution(out_channels, out_channels, size),
        )

    def scaled(self, x: Tensor, weight: Tensor) -> Tensor:
        """``weight`` (positive) times the output: the weight goes through the activation into the norm in between."""
        first, norm_act, second = self
        return second(norm_act(first(x), weight))


class ResidualDoubleConvolution(nn.Module):
    """2 x 3x3x3 convolution plus its input: the block of nnU-Net's ResEnc presets.

    As after every operation, norm and activation follow, here after the sum. Where the numbers of channels differ (the
    first layer of the network), a 1x1x1 convolution aligns the input.
    """

    def __init__(self, in_channels: int, out_channels: int, spatial_dims: int) -> None:
        super().__init__()
        self.convolutions = DoubleConvolution(in_channels, out_channels, spatial_dims)
        if in_channels != out_channels:
            self.shortcut = Convolution(in_channels, out_channels, (1,) * spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolutions(x) + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class LargeKernel(nn.Module):
    """Depthwise 5x5x5, norm, 1x1x1 to twice the channels, GELU, 1x1x1 back, plus the input (MedNeXt's block).

    MedNeXt (Roy et al., MICCAI 2023) has group norm after the depthwise convolution; here it is instance norm, as in
    every other operation. The input is added only where the numbers of channels are equal.
    """

    EXPANSION = 2

    def __init__(self, in_channels: int, out_channels: int, spatial_dims: int) -> None:
        super().__init__()
        dims = spatial_dims
        self.depthwise = CONV[dims](in_channels, in_channels, 5, padding=2, groups=in_channels, bias=False)
        self.norm = NormAct(in_channels, dims)
        hidden = self.EXPANSION * out_channels
        self.expand = Convolution(in_channels, hidden, (1,) * dims)
        self.compress = Convolution(hidden, out_channels, (1,) * dims)
        self.is_residual = in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.compress(F.gelu(self.expand(self.norm(self.depthwise(x)))))
        return x + y if self.is_residual else y


class PoolProject(nn.Module):
    """Max or average pooling by ``stride``, then a 1x1x1 convolution to the new number of channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int], average: bool) -> None:
        super().__init__()
        dims = len(stride)
        self.stride = tuple(stride)
        self.average = average
        self.project = Convolution(in_channels, out_channels, (1,) * dims)

    def pool(self, x: Tensor) -> Tensor:
        """``x`` reduced by the stride."""
        if self.average:
            return AVG_POOL[x.ndim - 2](x, self.stride, self.stride)
        return max_pool(x, self.stride)

    def scaled(self, x: Tensor, weight: Tensor) -> Tensor:
        """``weight`` times the output."""
        return self.project.scaled(self.pool(x), weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.pool(x))


class AvgPoolProject(PoolProject):
    """Average pooling and projection; linear, so its kernel is the projection spread over the pooled window."""

    dilation = 1

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int]) -> None:
        super().__init__(in_channels, out_channels, stride, average=True)

    def kernel(self) -> Tensor:
        """(C_out, C_in, 3, ...): a window of 2 covers the taps 1 and 2 of a kernel of 3 with padding 1, one of 1 the tap 1."""
        window = self.project.kernel().expand(-1, -1, *self.stride) / torch.tensor(self.stride).prod()
        # F.pad starts at the last axis.
        padding = [side for s in reversed(self.stride) for side in (1, 2 - s)]
        return F.pad(window, padding)


class TransposedConvolution(nn.Module):
    """Transposed convolution with kernel = stride, without bias; linear."""

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.stride = tuple(stride)
        self.conv = TRANSPOSED_CONV[len(stride)](
            in_channels, out_channels, self.stride, stride=self.stride, bias=False
        )

    def scaled(self, x: Tensor, weight: Tensor) -> Tensor:
        """``weight`` times the output."""
        return TRANSPOSED_CONV_FUNCTION[x.ndim - 2](x, self.conv.weight * weight, None, self.stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ProjectInterpolate(nn.Module):
    """1x1x1 convolution, then bi-/trilinear interpolation by ``stride``; linear."""

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.stride = tuple(stride)
        self.project = Convolution(in_channels, out_channels, (1,) * len(stride))

    def scaled(self, x: Tensor, weight: Tensor) -> Tensor:
        """``weight`` times the output."""
        return upsample(self.project.scaled(x, weight), self.stride)

    def forward(self, x: Tensor) -> Tensor:
        return upsample(self.project(x), self.stride)


def build_operation(name: str, in_channels: int, out_channels: int, stride: Sequence[int]) -> nn.Module:
    """The module of one operation.

    Args:
        name: see :mod:`search_space.operations`.
        in_channels, out_channels: of the layer.
        stride: per axis, between the two levels that a reduction or expansion joins; of a normal layer, all 1.

    Raises:
        KeyError: for a name that is no operation in this number of dimensions.
        ValueError: for ``identity`` between different numbers of channels.
    """
    dims, shape = len(stride), (in_channels, out_channels)
    if not any(name in legal_operations(kind, dims) for kind in KINDS):
        raise KeyError(name)
    if name == "identity" and in_channels != out_channels:
        raise ValueError(f"identity cannot turn {in_channels} channels into {out_channels}")
    builders: dict[str, Any] = {
        "conv3": lambda: Convolution(*shape, (3,) * dims),
        "conv3x3x1": lambda: Convolution(*shape, (3, 3, 1)),
        "conv5": lambda: Convolution(*shape, (5,) * dims),
        "pseudo3d": lambda: Pseudo3d(*shape),
        "2xconv3": lambda: DoubleConvolution(*shape, dims),
        "res2xconv3": lambda: ResidualDoubleConvolution(*shape, dims),
        "large_kernel": lambda: LargeKernel(*shape, dims),
        "conv3_rate2": lambda: Convolution(*shape, (3,) * dims, dilation=2),
        "conv5_rate2": lambda: Convolution(*shape, (5,) * dims, dilation=2),
        "identity": nn.Identity,
        "max_pool": lambda: PoolProject(*shape, stride, average=False),
        "avg_pool": lambda: AvgPoolProject(*shape, stride),
        "conv3_stride2": lambda: Convolution(*shape, (3,) * dims, stride=stride),
        "transposed_conv": lambda: TransposedConvolution(*shape, stride),
        "interpolate": lambda: ProjectInterpolate(*shape, stride),
    }
    return builders[name]()
