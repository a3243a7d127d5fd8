"""The operations of a building block as modules (section 2.1), in 2-D and 3-D from one code path.

Shapes: B batch, C channels, *S = H W or D H W. Every operation maps (B, C_in, *S) to (B, C_out, *S'), where S' is S
(normal), S / stride (reduction) or S * stride (expansion). None has a bias, and normalisation and activation follow
the mixture of a layer's candidates (:class:`NormAct`), so that a candidate that is a single convolution is linear.
Such a candidate says so by its method ``kernel()``: sum_i alpha_i O_i(x) is then one convolution with the kernel
sum_i alpha_i K_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .operations import KINDS, legal_operations

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONV = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
MAX_POOL = {2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
LINEAR_MODE = {2: "bilinear", 3: "trilinear"}


class NormAct(nn.Sequential):
    """Instance norm with affine parameters, then LeakyReLU(0.01)."""

    def __init__(self, channels: int, spatial_dims: int) -> None:
        super().__init__(INSTANCE_NORM[spatial_dims](channels, affine=True), nn.LeakyReLU(0.01, inplace=True))


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
        self.conv = CONV[dims](
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


class PoolProject(nn.Module):
    """Max or average pooling by ``stride``, then a 1x1x1 convolution to the new number of channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int], average: bool) -> None:
        super().__init__()
        dims = len(stride)
        self.stride = tuple(stride)
        self.pool = (AVG_POOL if average else MAX_POOL)[dims]
        self.project = Convolution(in_channels, out_channels, (1,) * dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.pool(x, self.stride, self.stride))


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
        self.conv = TRANSPOSED_CONV[len(stride)](
            in_channels, out_channels, tuple(stride), stride=tuple(stride), bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ProjectInterpolate(nn.Module):
    """1x1x1 convolution, then bi-/trilinear interpolation by ``stride``; linear."""

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.stride = tuple(stride)
        self.project = Convolution(in_channels, out_channels, (1,) * len(stride))

    def forward(self, x: Tensor) -> Tensor:
        return upsample(self.project(x), self.stride)


def upsample(x: Tensor, stride: Sequence[int]) -> Tensor:
    """``x`` enlarged by ``stride`` with bi- or trilinear interpolation (voxel centres aligned, edges repeated)."""
    return F.interpolate(
        x, scale_factor=[float(s) for s in stride], mode=LINEAR_MODE[len(stride)], align_corners=False
    )


def max_pool(x: Tensor, stride: Sequence[int]) -> Tensor:
    """``x`` reduced by ``stride`` with max pooling."""
    return MAX_POOL[len(stride)](x, tuple(stride), tuple(stride))


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
