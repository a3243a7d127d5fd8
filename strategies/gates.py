"""The gate of an aggregation edge and the regulariser that pushes it to 0 or 1 (section 2.2)."""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from collections.abc import Iterable
from typing import Any

import torch
from nni.nas.nn.pytorch import InputChoice
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import Tensor, nn

LOW, HIGH = 0.2, 0.8
"""A gate outside of this range counts as decided."""


def sparsity(betas: Tensor) -> Tensor:
    """J = -(sigma(beta) - 0.5)^2 (equation 2), averaged over the edges: a scalar in [-0.25, 0].

    It is smallest where every gate is 0 or 1. (The paper gives one edge's term; the mean keeps its weight independent
    of the number of edges.)

    Args:
        betas: (E,), any real numbers.
    """
    return -(torch.sigmoid(betas) - 0.5).square().mean()


def decided_share(gates: Iterable[float]) -> float:
    """The share of gates below 0.2 or above 0.8, in [0, 1]; 1 if there are none."""
    values = list(gates)
    return sum(not LOW <= gate <= HIGH for gate in values) / len(values) if values else 1.0


class SigmoidGate(InputChoice, BaseSuperNetModule):
    """A binary choice between two inputs, relaxed: (1 - g) a + g b with g = sigma(beta).

    For an aggregation edge a is nothing and b is T(x), so this is the gated term of equation 1.

    Args:
        beta: a scalar parameter.
        label: of the choice.
    """

    def __init__(self, beta: nn.Parameter, label: str) -> None:
        super().__init__(2, n_chosen=1, reduction="sum", label=label)
        self.beta = beta
        self.is_open: bool | None = None
        """Whether the edge is there, where it is fully there or not at all; None: as far as its gate is open."""
        self.target_is_cut_off = False
        """Whether no open edge reaches its target, so that the target's output is 0 whatever flows in."""

    def gate(self) -> Tensor:
        """sigma(beta), a scalar with a live gradient."""
        return torch.sigmoid(self.beta)

    def factor(self) -> Tensor:
        """What the edge is multiplied by: the gate, or 0 or 1 with the gate's gradient (straight-through)."""
        gate = self.gate()
        return gate if self.is_open is None else gate + (float(self.is_open) - gate).detach()

    def input_factor(self) -> Tensor:
        """As :meth:`factor`, for the sum of the target's inputs; 1 where nothing of it comes out.

        There it changes no number, but the gradient of opening the edge, which comes through the target's reach, then
        tells what the target would have to say and not what a node without inputs has.
        """
        return torch.ones_like(self.beta) if self.target_is_cut_off else self.factor()

    def forward(self, inputs: list[Tensor]) -> Tensor:
        gate = self.input_factor().to(inputs[1].dtype)
        return torch.lerp(inputs[0], inputs[1], gate)

    def arch_parameters(self) -> list[nn.Parameter]:
        return [self.beta]

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        return {}

    def export(self, memo: dict[str, Any]) -> dict[str, Any]:
        """The likelier of the two inputs; for another threshold see :mod:`strategies.pruning`."""
        return {} if self.label in memo else {self.label: [int(self.beta.item() >= 0)]}

    def export_probs(self, memo: dict[str, Any]) -> dict[str, Any]:
        gate = self.gate().item()
        return {} if self.label in memo else {self.label: {0: 1 - gate, 1: gate}}

    @classmethod
    def mutate(cls, module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]) -> Any:
        """NNI's hook: takes the place of every binary ``InputChoice``."""
        choice: Any = module
        if type(module) is InputChoice and choice.n_candidates == 2 and choice.n_chosen == 1:
            return cls(memo[choice.label], choice.label)
        return None
