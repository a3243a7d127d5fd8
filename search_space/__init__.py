"""The search space of UXNet: the grid, its candidates, the space for NNI and the fixed network."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    from . import presets
    from .config import SearchSpaceConfig
    from .genotype import Genotype
    from .network import UXNet
    from .space import UXNetSpace

__all__ = ["Genotype", "SearchSpaceConfig", "UXNet", "UXNetSpace", "UserError", "presets"]

_MODULES = {"Genotype": "genotype", "SearchSpaceConfig": "config", "UXNet": "network", "UXNetSpace": "space"}


def __getattr__(name: str) -> Any:
    # Deferred imports: errors need no pydantic, genotypes no torch, the fixed network no NNI.
    if name == "presets":
        return import_module(".presets", __name__)
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module 'search_space' has no attribute '{name}'")
