"""Search strategies for the space: sigmoid gates, sparsity, pruning, and differentiable search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .settings import StrategySettings

if TYPE_CHECKING:
    from .sparse_darts import SparseDARTS

__all__ = ["SparseDARTS", "StrategySettings"]


def __getattr__(name: str) -> Any:
    # Deferred import: pruning and settings need neither torch nor NNI.
    if name == "SparseDARTS":
        from .sparse_darts import SparseDARTS

        return SparseDARTS
    raise AttributeError(f"module 'strategies' has no attribute '{name}'")
