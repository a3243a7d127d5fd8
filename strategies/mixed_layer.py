"""The mixed layer y = sum_i softmax(alpha)_i O_i(x) (section 2.1), plain and folded.

Shapes: B batch, C channels, *S = H W or D H W, K candidates.
"""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from nni.nas.nn.pytorch import LayerChoice
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from torch import Tensor, nn
from torch.nn import functional as F

CONV_FUNCTION = {2: F.conv2d, 3: F.conv3d}


@runtime_checkable
class LinearCandidate(Protocol):
    """A candidate that is one convolution with "same" padding and without bias: all a supernet needs to fold it."""

    dilation: int
    stride: tuple[int, ...]

    def kernel(self) -> Tensor:
        """The kernel, (C_out, C_in, *K) with odd K."""
        ...


class MixedLayer(DifferentiableMixedLayer):
    """The weighted sum of a layer's candidates.

    Folded, the linear candidates are one convolution per dilation, because convolution is linear in its kernel:
    sum_i a_i (K_i * x) = (sum_i a_i K_i) * x, smaller kernels padded with zeros to the largest support. Every other
    candidate (one of a user's own, say) is computed and weighted as it is.
    """

    folded = True

    def forward(self, x: Tensor) -> Tensor:
        weights = self._softmax(self._arch_alpha)
        chosen: dict[tuple[int, tuple[int, ...]], list[tuple[Tensor, Tensor]]] = {}
        total: Tensor | None = None
        for name, weight in zip(self.names, weights, strict=True):
            candidate = self[name]
            if self.folded and isinstance(candidate, LinearCandidate):
                key = candidate.dilation, candidate.stride
                chosen.setdefault(key, []).append((weight, candidate.kernel()))
            else:
                y = candidate(x)
                y = y * weight.to(y.dtype)
                total = y if total is None else total + y
        for (dilation, stride), terms in chosen.items():
            kernel = add_kernels(terms)
            padding = [dilation * (size // 2) for size in kernel.shape[2:]]
            y = CONV_FUNCTION[x.ndim - 2](x, kernel, None, stride, padding, dilation)
            total = y if total is None else total + y
        assert total is not None
        return total

    @classmethod
    def mutate(cls, module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]) -> Any:
        """NNI's hook: takes the place of every ``LayerChoice``."""
        if type(module) is not LayerChoice:
            return None
        candidates = {str(key): module[key] for key in module.names}
        mixed = cls(candidates, memo[module.label], nn.Softmax(-1), module.label)
        mixed.folded = mutate_kwargs["folded"]
        return mixed


def add_kernels(terms: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """sum_i a_i K_i over their common support.

    Args:
        terms: weights (scalars) and kernels (C_out, C_in, *K_i) with odd K_i, centred on each other.
    """
    support = [max(sizes) for sizes in zip(*(kernel.shape[2:] for _, kernel in terms), strict=True)]
    total: Tensor | None = None
    for weight, kernel in terms:
        # F.pad starts at the last axis.
        margins = [(s - k) // 2 for s, k in zip(reversed(support), reversed(kernel.shape[2:]), strict=True)]
        padded = F.pad(kernel * weight, [side for margin in margins for side in (margin, margin)])
        total = padded if total is None else total + padded
    assert total is not None
    return total
