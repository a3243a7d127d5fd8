"""Hard limits of cost that an architecture has to keep; plain Python, no tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search_space.config import SearchSpaceConfig
from search_space.cost import Cost, genotype_cost, smallest_cost
from search_space.errors import UserError
from search_space.genotype import Genotype


@dataclass(frozen=True)
class Limits:
    """Largest (and least) costs.

    Args:
        config: the space; gives the channels.
        patch_size: voxels along each axis of one patch.
        multiply_adds: the largest number; None: no limit.
        parameters: likewise.
        least_share: of ``multiply_adds``: an architecture of less is refused too, so that a search for one budget does
            not spend its time on much smaller networks.
    """

    config: SearchSpaceConfig
    patch_size: Sequence[int]
    multiply_adds: float | None = None
    parameters: float | None = None
    least_share: float = 0.0

    def cost(self, genotype: Genotype) -> Cost:
        """The cost of a genotype in this space."""
        return genotype_cost(genotype, self.config, self.patch_size)

    def check(self) -> None:
        """Raises :class:`UserError` if no network of the space keeps the limits; it names the smallest cost."""
        least = smallest_cost(self.config, self.patch_size)
        for name, limit, smallest in (
            ("multiply-adds", self.multiply_adds, least.multiply_adds),
            ("parameters", self.parameters, least.parameters),
        ):
            if limit is not None and smallest > limit:
                raise UserError(
                    f"budget: no network of this space needs at most {limit:,.0f} {name}; the smallest needs "
                    f"{smallest:,}; raise the budget, or lower base_channels or the least of width_choices"
                )

    def excess(self, genotype: Genotype) -> float:
        """How far the genotype is beyond the limits, as a share of them; 0 if it keeps them all."""
        cost = self.cost(genotype)
        excess = 0.0
        if self.multiply_adds is not None:
            excess += max(0.0, cost.multiply_adds / self.multiply_adds - 1)
            excess += max(0.0, self.least_share - cost.multiply_adds / self.multiply_adds)
        if self.parameters is not None:
            excess += max(0.0, cost.parameters / self.parameters - 1)
        return excess
