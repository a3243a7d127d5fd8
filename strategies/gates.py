"""The gate of an aggregation edge, and the regulariser that pushes it to 0 or 1 (section 2.2)."""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from collections.abc import Iterable
from typing import Any

import torch
from nni.nas.nn.pytorch import InputChoice
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import Tensor, nn

LOW, HIGH = 0.2, 0.8
"""A gate outside this range counts as decided."""


def sparsity(betas: Tensor) -> Tensor:
    """J = -(sigma(beta) - 0.5)^2 (equation 2), averaged over the edges: a scalar in [-0.25, 0].

    J is smallest if every gate is 0 or 1. The paper gives the term of one edge. The mean keeps the
    weight of J independent of the number of edges.

    Args:
        betas: (E,), any real numbers.
    """
    return -(torch.sigmoid(betas) - 0.5).square().mean()


def decided_share(gates: Iterable[float]) -> float:
    """The fraction of gates below 0.2 or above 0.8, in [0, 1]; 1 if there are none."""
    values = list(gates)
    return sum(not LOW <= gate <= HIGH for gate in values) / len(values) if values else 1.0


class SigmoidGate(InputChoice, BaseSuperNetModule):
    """A relaxed binary choice between two inputs: (1 - g) a + g b with g = sigma(beta).

    For an aggregation edge, a is zero and b is T(x). This is the gated term of equation 1.

    Args:
        beta: a scalar parameter.
        label: the label of the choice.
    """

    def __init__(self, beta: nn.Parameter, label: str) -> None:
        super().__init__(2, n_chosen=1, reduction="sum", label=label)
        self.beta = beta
        self.is_open: bool | None = None
        """True: the edge is fully present; False: it is absent; None: its gate scales it."""
        self.target_is_cut_off = False
        """Whether no open edge reaches the edge's target, so the target's output is always 0."""

    def gate(self) -> Tensor:
        """sigma(beta), a scalar with its gradient."""
        return torch.sigmoid(self.beta)

    def factor(self) -> Tensor:
        """The edge's factor: its gate, or 0 or 1 with the gate's gradient (straight-through)."""
        gate = self.gate()
        return gate if self.is_open is None else gate + (float(self.is_open) - gate).detach()

    def input_factor(self) -> Tensor:
        """The factor in the sum of the target's inputs: :meth:`factor`, or 1 if it is cut off.

        The output of a cut-off target is unchanged, because its reach is 0. The gradient of opening
        the edge comes through this reach. It now measures what the target would contribute, and not
        what a node without inputs contributes.
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
        """The likelier of the two inputs; :mod:`strategies.pruning` takes other thresholds."""
        return {} if self.label in memo else {self.label: [int(self.beta.item() >= 0)]}

    def export_probs(self, memo: dict[str, Any]) -> dict[str, Any]:
        gate = self.gate().item()
        return {} if self.label in memo else {self.label: {0: 1 - gate, 1: gate}}

    @classmethod
    def mutate(cls, module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]) -> Any:
        """NNI's hook: replaces every binary ``InputChoice``."""
        choice: Any = module
        if type(module) is InputChoice and choice.n_candidates == 2 and choice.n_chosen == 1:
            return cls(memo[choice.label], choice.label)
        return None
