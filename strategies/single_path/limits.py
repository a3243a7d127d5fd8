"""Hard cost limits of an architecture; plain Python, no tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search_space.activations import genotype_activations, smallest_activations
from search_space.config import SearchSpaceConfig
from search_space.cost import Cost, genotype_cost, smallest_cost
from search_space.errors import UserError
from search_space.genotype import Genotype


@dataclass(frozen=True)
class Limits:
    """The largest (and smallest) costs that a search allows.

    Args:
        config: the space, which gives the channels.
        patch_size: size of a patch along each axis, in voxels.
        multiply_adds: the largest number of multiply-adds; None: no limit.
        parameters: the largest number of parameters; None: no limit.
        activations: the largest number of values that convolutions write; None: no limit.
        least_share: the smallest allowed fraction of ``multiply_adds``, ``activations`` or
            ``latency_ms``; one of them is enough. It keeps the search for one budget from spending
            time on much smaller networks.
        latency_ms: the longest latency, in ms; None: no limit.
        latency: gives the latency of a genotype's network in ms; needed for that limit.
        checked_latency: gives it more precisely, but slowly; asked for networks that keep all other
            limits. None: ``latency`` alone counts.
    """

    config: SearchSpaceConfig
    patch_size: Sequence[int]
    multiply_adds: float | None = None
    parameters: float | None = None
    activations: float | None = None
    least_share: float = 0.0
    latency_ms: float | None = None
    latency: Callable[[Genotype], float] | None = None
    checked_latency: Callable[[Genotype], float] | None = None

    def cost(self, genotype: Genotype) -> Cost:
        """The cost of a genotype in this space."""
        return genotype_cost(genotype, self.config, self.patch_size)

    def check(self) -> None:
        """Raises :class:`UserError`, with the smallest cost, if no network keeps the limits."""
        least = smallest_cost(self.config, self.patch_size)
        for name, limit, smallest in (
            ("multiply-adds", self.multiply_adds, least.multiply_adds),
            ("parameters", self.parameters, least.parameters),
            ("activations", self.activations, smallest_activations(self.config, self.patch_size)),
        ):
            if limit is not None and smallest > limit:
                raise UserError(
                    f"budget: no network of this space needs at most {limit:,.0f} {name}; the smallest needs "
                    f"{smallest:,}; raise the budget, or lower base_channels or the least of width_choices"
                )

    def excess(self, genotype: Genotype) -> float:
        """How far the genotype exceeds the limits, as a fraction of them; 0 if it keeps them."""
        cost, used = self.cost(genotype), []
        if self.multiply_adds is not None:
            used.append(cost.multiply_adds / self.multiply_adds)
        if self.activations is not None:
            used.append(genotype_activations(genotype, self.config, self.patch_size) / self.activations)
        if self.latency_ms is not None and self.latency is not None:
            used.append(self.latency(genotype) / self.latency_ms)
        excess = sum(max(0.0, each - 1) for each in used)
        if used:
            excess += max(0.0, self.least_share - max(used))
        if self.parameters is not None:
            excess += max(0.0, cost.parameters / self.parameters - 1)
        if excess == 0 and self.latency_ms is not None and self.checked_latency is not None:
            excess = max(0.0, self.checked_latency(genotype) / self.latency_ms - 1)
        return excess
