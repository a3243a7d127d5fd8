"""The mixed layer y = sum_i softmax(alpha / T)_i O_i(x), plain and folded.

In section 2.1 of the paper, T = 1.

Shapes: B batch, C channels, *S = H W or D H W, K candidates.
"""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from nni.nas.nn.pytorch import LayerChoice
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from torch import Tensor, nn

from .folding.folded_convolution import folded_convolution


@runtime_checkable
class LinearCandidate(Protocol):
    """A candidate that is one convolution with "same" padding and without bias.

    A supernet can fold it with no further knowledge.
    """

    dilation: int
    stride: tuple[int, ...]

    def kernel(self) -> Tensor:
        """The kernel, (C_out, C_in, *K) with odd K."""
        ...


@runtime_checkable
class ScaledCandidate(Protocol):
    """A candidate that applies its weight inside, where this costs less than on the output."""

    def scaled(self, x: Tensor, weight: Tensor) -> Tensor:
        """``weight`` (a positive scalar) times the candidate's output for ``x``."""
        ...


class MixedLayer(DifferentiableMixedLayer):
    """The weighted sum of a layer's candidates.

    When folded, the linear candidates are one convolution per dilation and stride, because
    convolution is linear in its kernel: sum_i a_i (K_i * x) = (sum_i a_i K_i) * x. Smaller kernels
    are padded with zeros to the largest support. A :class:`ScaledCandidate` applies its weight
    inside. Every other candidate (for example one of a user) is computed, then weighted.
    """

    folded = True
    temperature = 1.0
    """T of softmax(alpha / T); as T falls, the sum approaches its leading candidate."""
    chosen: str | None = None
    """The only candidate that is computed after the commitment; None before."""
    sampled: frozenset[str] | None = None
    """The candidates that are present in this step, with weights scaled to sum 1; None: all."""

    def weights(self) -> Tensor:
        """softmax(alpha / T), (K,)."""
        return self._softmax(self._arch_alpha / self.temperature)

    def leading(self) -> str:
        """The candidate with the largest alpha; of equal ones, the first."""
        return self.names[int(self._arch_alpha.argmax())]

    def forward(self, x: Tensor) -> Tensor:
        if self.chosen is not None:
            return self[self.chosen](x)
        names, weights = self.names, self.weights()
        if self.sampled is not None:
            indices = [index for index, name in enumerate(names) if name in self.sampled]
            names, weights = [names[index] for index in indices], weights[indices]
            weights = weights / weights.sum()
        terms = dict(zip(names, weights.unbind(), strict=True))
        return self._folded_sum(x, terms) if self.folded else self._plain_sum(x, terms)

    def _plain_sum(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        terms = [_weighted(self[name], x, weight) for name, weight in weights.items()]
        return sum(terms[1:], terms[0])

    def _folded_sum(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        groups: dict[tuple[int, tuple[int, ...]], list[tuple[Tensor, Tensor]]] = {}
        others: list[tuple[nn.Module, Tensor]] = []
        for name, weight in weights.items():
            candidate = self[name]
            if isinstance(candidate, LinearCandidate):
                place = candidate.dilation, candidate.stride
                groups.setdefault(place, []).append((weight, candidate.kernel()))
            else:
                others.append((candidate, weight))
        total: Tensor | None = None
        for (dilation, stride), terms in groups.items():
            y = folded_convolution(x, terms, stride, dilation)
            total = y if total is None else total + y
        for candidate, weight in others:
            if isinstance(candidate, ScaledCandidate):
                y = candidate.scaled(x, weight)
            else:
                y = _weighted(candidate, x, weight)
            total = y if total is None else total + y
        assert total is not None
        return total

    @classmethod
    def mutate(cls, module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]) -> Any:
        """NNI's hook: replaces every ``LayerChoice``."""
        if type(module) is not LayerChoice:
            return None
        choice: Any = module
        candidates = {str(key): choice[key] for key in choice.names}
        mixed = cls(candidates, memo[choice.label], nn.Softmax(-1), choice.label)
        mixed.folded = mutate_kwargs["folded"]
        return mixed


def _weighted(candidate: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    y = candidate(x)
    return y * weight.to(y.dtype)
