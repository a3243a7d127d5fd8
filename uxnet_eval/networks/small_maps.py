"""Convolutions of other libraries, kept right on feature maps smaller than their kernel.

On a CPU in bfloat16, oneDNN leaves parts of such a kernel's gradient uninitialised: whatever the
memory held before. This project's own convolutions avoid it in
:mod:`search_space.kernels.convolution`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from search_space.kernels.convolution import HALF_TYPES, in_working_precision, is_eager_on_cpu


class _ExactOnSmallMaps(nn.Module):
    """A convolution that computes in float32 if autocast would take half precision there."""

    kernel_size: tuple[int, ...]
    weight: Tensor

    def forward(self, x: Tensor, *further: Any) -> Tensor:
        """The convolution of ``x``, (B, C, *S), in the type that it would have anyway."""
        if not is_eager_on_cpu(x) or self.weight.dtype != torch.float32:
            return super().forward(x, *further)
        dtype = in_working_precision(x).dtype
        smaller = any(size < width for size, width in zip(x.shape[2:], self.kernel_size, strict=True))
        if not smaller or dtype not in HALF_TYPES:
            return super().forward(x, *further)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float(), *further).to(dtype)


class _Conv2d(_ExactOnSmallMaps, nn.Conv2d):
    pass


class _Conv3d(_ExactOnSmallMaps, nn.Conv3d):
    pass


class _ConvTranspose2d(_ExactOnSmallMaps, nn.ConvTranspose2d):
    pass


class _ConvTranspose3d(_ExactOnSmallMaps, nn.ConvTranspose3d):
    pass


EXACT: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: _Conv2d,
    nn.Conv3d: _Conv3d,
    nn.ConvTranspose2d: _ConvTranspose2d,
    nn.ConvTranspose3d: _ConvTranspose3d,
}


def keep_exact_on_small_maps(network: nn.Module) -> nn.Module:
    """``network``, whose convolutions get right gradients on small feature maps too."""
    for module in network.modules():
        module.__class__ = EXACT.get(type(module), type(module))
    return network
