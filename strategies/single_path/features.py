"""What a search learns from architectures: numbers that describe their choices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search_space.genotype import Genotype
from search_space.operations import KINDS

Array = NDArray[np.float64]
Operation = tuple[str, str]
"""A kind of layer and an operation's name."""


def operations_of(genotypes: Sequence[Genotype]) -> list[Operation]:
    """All operations that some of the architectures have, sorted."""
    return sorted({pair for each in genotypes for pair in _shares(each)})


def features(genotypes: Sequence[Genotype], operations: Sequence[Operation]) -> Array:
    """A row for each architecture: its widths, the number of its edges, its operations.

    Widths count by their logarithm: a factor acts alike on narrow and on wide levels. Each
    operation counts by its share of the layers of its kind.

    Args:
        genotypes: architectures with equally many levels.
        operations: the operations that count.
    """
    rows = []
    for each in genotypes:
        shares, widths = _shares(each), each.widths or (1.0,) * each.levels
        of_each = (shares.get(operation, 0.0) for operation in operations)
        rows.append([*np.log2(widths), len(each.edges), *of_each])
    return np.asarray(rows, dtype=np.float64)


def feature_names(levels: int, operations: Sequence[Operation]) -> list[str]:
    """The names of the columns of :func:`features`."""
    widths = [f"width of level {level}" for level in range(levels)]
    return [*widths, "number of edges", *(f"{name} ({kind})" for kind, name in operations)]


def _shares(genotype: Genotype) -> dict[Operation, float]:
    """The share of each operation among the layers of its kind."""
    shares: dict[Operation, float] = {}
    for kind in KINDS:
        names = [name for layer, name in genotype.operations.items() if layer.kind == kind]
        shares |= {(kind, name): names.count(name) / len(names) for name in names}
    return shares
