"""The search space of UXNet: the grid, its candidates, the space for NNI and the fixed network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import presets
from .config import SearchSpaceConfig
from .errors import UserError
from .genotype import Genotype

if TYPE_CHECKING:
    from .network import UXNet
    from .space import UXNetSpace

__all__ = ["Genotype", "SearchSpaceConfig", "UXNet", "UXNetSpace", "UserError", "presets"]


def __getattr__(name: str) -> Any:
    # Deferred: reading a genotype needs no torch, and the fixed network needs no NNI.
    if name == "UXNet":
        from .network import UXNet

        return UXNet
    if name == "UXNetSpace":
        from .space import UXNetSpace

        return UXNetSpace
    raise AttributeError(f"module 'search_space' has no attribute '{name}'")
