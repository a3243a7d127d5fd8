"""The operations of a building block as modules (section 2.1); one code path for 2-D and 3-D.

Shapes: B batch, C channels, *S = H W or D H W. Every operation maps (B, C_in, *S) to
(B, C_out, *S'). S' is S (normal), S / stride (reduction) or S * stride (expansion).

No operation has a bias. Normalisation and activation (:class:`NormAct`) follow the weighted sum of
a layer's candidates, so a candidate that is a single convolution is linear. Such a candidate has a
method ``kernel()``: sum_i alpha_i O_i(x) is then one convolution with the kernel sum_i alpha_i K_i.
A candidate with ``scaled(x, weight)`` gives weight * O(x) without multiplying a feature map.
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
    """One linear convolution without bias; the output size is the input size divided by the stride.

    Args:
        in_channels, out_channels: numbers of channels of the input and the output.
        kernel_size: one odd value per axis.
        stride: one value per axis; None: 1.
        dilation: rate of a dilated ("rate 2") convolution, along all axes.
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
        """``weight`` times the output; multiplies the kernel instead of the feature map."""
        return CONV_FUNCTION[x.ndim - 2](
            x, self.kernel() * weight, None, self.stride, self.conv.padding, self.dilation
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Pseudo3d(nn.Module):
    """3x3x1 convolution, then 1x1x3 convolution, without norm or activation between them; linear.

    The first convolution does not extend along the last axis. The second one is therefore padded
    with zeros in both forms, and the composed kernel (:meth:`kernel`) gives the same output up to
    rounding.
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
    """Two 3x3x3 convolutions with norm and activation between them; not linear."""

    def __init__(self, in_channels: int, out_channels: int, spatial_dims: int) -> None:
        size = (3,) * spatial_dims
        super().__init__(
            Convolution(in_channels, out_channels, size),
            NormAct(out_channels, spatial_dims),
            Convolution(out_channels, out_channels, size),
        )

    def scaled(self, x: Tensor, weight: Tensor) -> Tensor:
        """``weight`` (positive) times the output.

        The weight passes through the activation into the norm between the convolutions.
        """
        first, norm_act, second = self
        return second(norm_act(first(x), weight))


class ResidualDoubleConvolution(nn.Module):
    """Two 3x3x3 convolutions plus the input: the block of nnU-Net's ResEnc presets.

    Norm and activation follow the sum, as after every operation. If the numbers of channels differ
    (the first layer of the network), a 1x1x1 convolution aligns the input.
    """

    def __init__(self, in_channels: int, out_channels: int, spatial_dims: int) -> None:
        super().__init__()
        self.convolutions = DoubleConvolution(in_channels, out_channels, spatial_dims)
        if in_channels != out_channels:
            self.shortcut = Convolution(in_channels, out_channels, (1,) * spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolutions(x) + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class LargeKernel(nn.Module):
    """MedNeXt's block: depthwise 5x5x5, norm, 1x1x1 to twice the channels, GELU, 1x1x1, plus input.

    MedNeXt (Roy et al., MICCAI 2023) has group norm after the depthwise convolution. Here instance
    norm and LeakyReLU follow it (:class:`NormAct`), as in every other operation. The input is added
    only if the numbers of channels are equal.
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
    """Max or average pooling by ``stride``, then a 1x1x1 convolution to ``out_channels``."""

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int], average: bool) -> None:
        super().__init__()
        dims = len(stride)
        self.stride = tuple(stride)
        self.average = average
        self.project = Convolution(in_channels, out_channels, (1,) * dims)

    def pool(self, x: Tensor) -> Tensor:
        """``x`` reduced by the stride, (B, C_in, *S / stride)."""
        if self.average:
            return AVG_POOL[x.ndim - 2](x, self.stride, self.stride)
        return max_pool(x, self.stride)

    def scaled(self, x: Tensor, weight: Tensor) -> Tensor:
        """``weight`` times the output."""
        return self.project.scaled(self.pool(x), weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.pool(x))


class AvgPoolProject(PoolProject):
    """Average pooling and projection; linear.

    Its kernel is the projection, spread over the pooled window.
    """

    dilation = 1

    def __init__(self, in_channels: int, out_channels: int, stride: Sequence[int]) -> None:
        super().__init__(in_channels, out_channels, stride, average=True)

    def kernel(self) -> Tensor:
        """The kernel, (C_out, C_in, 3, ...), for padding 1.

        Along an axis, a window of 2 covers the taps 1 and 2; a window of 1 covers the tap 1.
        """
        window = self.project.kernel().expand(-1, -1, *self.stride) / torch.tensor(self.stride).prod()
        # F.pad starts at the last axis.
        padding = [side for s in reversed(self.stride) for side in (1, 2 - s)]
        return F.pad(window, padding)


class TransposedConvolution(nn.Module):
    """Transposed convolution with kernel size = stride, without bias; linear."""

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
    """The module of one operation; it maps (B, C_in, *S) to (B, C_out, *S').

    Args:
        name: a name of :mod:`search_space.operations`.
        in_channels, out_channels: numbers of channels of the layer's input and output.
        stride: per axis, the stride between the two levels that a reduction or expansion joins;
            all 1 for a normal layer.

    Raises:
        KeyError: if no operation has this name in this number of dimensions.
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
