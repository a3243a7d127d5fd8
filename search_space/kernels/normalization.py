"""Instance norm and LeakyReLU in one step that keeps channels-last memory and bfloat16.

Shapes: B batch, C channels, *S = H W or D H W.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .convolution import is_eager_on_cpu

INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
SLOPE = 0.01


class NormAct(nn.Sequential):
    """Instance norm with affine parameters, then LeakyReLU(0.01)."""

    def __init__(self, channels: int, spatial_dims: int) -> None:
        super().__init__(
            INSTANCE_NORM[spatial_dims](channels, affine=True), nn.LeakyReLU(SLOPE, inplace=True)
        )

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """The normalised and activated ``x``, (B, C, *S), times ``scale``.

        For s > 0, LeakyReLU(s z) = s LeakyReLU(z), so it is enough to multiply the norm's weights
        and biases by s. For s = 0, the result is multiplied instead. Otherwise the sign of z would
        be lost, and the gradient of s would be wrong.

        Args:
            x: the feature map, (B, C, *S).
            scale: a scalar s >= 0; None stands for 1.
        """
        if scale is not None and not scale:
            return self(x) * scale.to(x.dtype)
        norm = self[0]
        assert isinstance(norm, nn.modules.instancenorm._InstanceNorm)
        weight: Tensor = norm.weight
        bias: Tensor = norm.bias
        if scale is not None:
            weight, bias = weight * scale, bias * scale
        if is_eager_on_cpu(x) and x[0, 0].numel() > 1:
            return _InstanceNormLeakyReLU.apply(x, weight, bias, norm.eps)
        # This raises for a single voxel, which has no variance.
        return F.leaky_relu(F.instance_norm(x, weight=weight, bias=bias, eps=norm.eps), SLOPE, inplace=True)


class _InstanceNormLeakyReLU(torch.autograd.Function):
    """The batch norm of each sample alone, activated in place.

    PyTorch's ``instance_norm`` is a batch norm of one sample with B x C channels. This costs a copy
    out of channels-last memory before it and a copy back after it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        y = torch.empty_like(x)
        moments = weight.new_empty(2, len(x), x.shape[1])
        for index, sample in enumerate(x.split(1)):
            torch.ops.aten.native_batch_norm.out(
                sample, weight, bias, None, None, True, 0.0, eps,
                out=y[index : index + 1], save_mean=moments[0, index], save_invstd=moments[1, index],
            )  # fmt: skip
        F.leaky_relu_(y, SLOPE)
        ctx.save_for_backward(x, y, weight, moments)
        ctx.eps = eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, y, weight, (means, inverse_deviations) = ctx.saved_tensors
        gradient = torch.ops.aten.leaky_relu_backward(gradient, y, SLOPE, True)
        needed = [ctx.needs_input_grad[0], True, True]  # the last two cost nothing
        of_x = torch.empty_like(x) if needed[0] else None
        of_weight = of_bias = 0
        for index, (sample, of_sample) in enumerate(zip(x.split(1), gradient.split(1), strict=True)):
            parts = torch.ops.aten.native_batch_norm_backward(
                of_sample,
                sample,
                weight,
                None,
                None,
                means[index],
                inverse_deviations[index],
                True,
                ctx.eps,
                needed,
            )
            if of_x is not None:
                of_x[index : index + 1] = parts[0]
            of_weight, of_bias = of_weight + parts[1], of_bias + parts[2]
        return of_x, of_weight if needed[1] else None, of_bias if needed[2] else None, None
