"""All settings of the search strategy in one model; plain Python without torch and NNI."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from typing_extensions import Self

from search_space.strict import StrictConfig

Schedule = Literal["constant", "cosine"]
SparsitySchedule = Literal["constant", "rising"]
DecideBy = Literal["gates", "perturbation"]

PAPER: dict[str, Any] = {
    "sparsity_schedule": "constant",
    "edge_weight": 0.0,
    "cost_weight": 0.0,
    "final_temperature": 1.0,
    "sample_edges": False,
    "sample_operations": False,
    "commit": False,
}
"""The values that switch off this project's additions to the paper's method."""


class StrategySettings(StrictConfig):
    """Settings of alpha, beta and pruning; :mod:`strategies.phases` defines the phases."""

    warmup_epochs: int = Field(2, ge=0, le=10**6)
    """The first epochs train the network weights only."""
    alpha_learning_rate: float = Field(2e-2, ge=0)
    """Learning rate of alpha, the operations' weights; 0 leaves them equal."""
    beta_learning_rate: float = Field(1e-1, ge=0)
    """Learning rate of beta, the gates' parameters; 0 leaves every gate at 0.5."""
    alpha_schedule: Schedule = "constant"
    """Schedule of alpha's learning rate after the warm-up; ``cosine`` falls to 0 at the end."""
    beta_schedule: Schedule = "constant"
    """Schedule of beta's learning rate after the warm-up; ``cosine`` falls to 0 at the end."""
    sparsity_weight: float = Field(1.0, ge=0)
    """Weight of the regulariser J (equation 2), which pushes gates to 0 or 1."""
    sparsity_schedule: SparsitySchedule = "rising"
    """``rising``: the weight of J rises from 0 after the warm-up, so the loss moves gates first."""
    edge_weight: float = Field(0.1, ge=0)
    """Weight of the mean gate: an edge survives if it lowers the loss by more than edge_weight / E
    (E edges)."""
    cost_weight: float = Field(0.0, ge=0)
    """Weight of the expected multiply-adds, relative to those at the start of the search."""
    cost_target: float | None = Field(None, gt=0)
    """Expected multiply-adds, relative to those at the start, below which nothing is charged; above
    it the excess is, as a share of the target. None: everything is charged."""
    final_temperature: float = Field(1.0, gt=0, le=1)
    """T of softmax(alpha / T) falls from 1 to this value after the warm-up; 1 keeps it constant."""
    sample_edges: bool = True
    """Sample the edges of each step with the probability of their gates, instead of scaling edges
    by gates."""
    sample_operations: bool = True
    """Drop each candidate with probability 1/2 in a weight step, so that each learns without the
    others."""
    commit: bool = True
    """Train the derived network in the last 40 % of the epochs after the warm-up; weights only in
    the last 20 %."""
    decide_by: DecideBy = "gates"
    """What decides at the end. ``gates``: the largest alphas, and all gates of at least
    ``prune_threshold``. ``perturbation``: what the supernet's validation Dice loses without a
    candidate or an edge (DARTS-PT); it needs ``commit: false``."""
    prune_threshold: float = Field(0.75, gt=0, lt=1)
    """tau: an edge is kept if its gate is at least this."""
    gradient_clip_norm: float | None = Field(12.0, gt=0)
    """Largest norm of the weights' gradient; a longer gradient is shortened; None: no limit."""
    folded: bool = True
    """Add the kernels of linear candidates instead of their outputs: the same function, faster."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Seed of the split, the patches, the initial weights and all sampling."""

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """Settings of the paper's own method, without this project's additions (:data:`PAPER`).

        Args:
            changes: values that replace the paper's or the defaults.
        """
        return cls(**(PAPER | changes))
