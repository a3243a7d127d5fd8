"""Random architectures of a space, within limits of cost; plain Python, no tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random

from search_space.config import SearchSpaceConfig
from search_space.errors import UserError
from search_space.genotype import Genotype
from search_space.grid import Edge, Layer, live_edges
from search_space.presets import default_operation, unet_edges, unet_pass_through

MAX_DRAWS = 100_000


@dataclass(frozen=True)
class Sampler:
    """Draws architectures of a space.

    Args:
        config: the space.
    """

    config: SearchSpaceConfig

    @property
    def anchors(self) -> frozenset[Edge]:
        """Edges that are always there."""
        config = self.config
        fixed = config.anchored_edges or not config.search_edges
        return unet_edges(config.levels) if fixed else frozenset()

    @property
    def free_edges(self) -> tuple[Edge, ...]:
        """The searched edges."""
        if not self.config.search_edges:
            return ()
        return tuple(edge for edge in self.config.grid.edges if edge not in self.anchors)

    def choices(self, layer: Layer) -> tuple[str, ...]:
        """The operations that a layer chooses from."""
        config = self.config
        if (
            not config.search_edges
            and layer.kind == "normal"
            and layer.node in unet_pass_through(config.levels)
        ):
            return ("identity",)
        if not config.search_blocks:
            hands_on = layer.kind == "normal" and layer.node in unet_pass_through(config.levels)
            return ("identity",) if hands_on and config.pass_through else (default_operation(layer),)
        return config.layer_candidates(layer)

    def draw(self, random: Random, accepts: Callable[[Genotype], bool] = lambda genotype: True) -> Genotype:
        """One architecture: the share of the free edges is drawn evenly first, then edges, operations and widths.

        Args:
            random: the random numbers.
            accepts: says whether an architecture is within the limits; others are drawn again.

        Raises:
            UserError: if none of 100,000 draws is.
        """
        config = self.config
        for _ in range(MAX_DRAWS):
            share = random.random()
            edges = set(self.anchors) | {edge for edge in self.free_edges if random.random() < share}
            if not live_edges(config.grid, edges):
                continue
            operations = {layer: random.choice(self.choices(layer)) for layer in config.grid.layers}
            widths = [random.choice(config.width_choices) for _ in range(config.levels)]
            genotype = self.genotype(edges, operations, widths)
            if accepts(genotype):
                return genotype
        raise UserError(f"none of {MAX_DRAWS:,} random architectures is within the limits; widen them")

    def genotype(
        self, edges: Collection[Edge], operations: dict[Layer, str], widths: Collection[float]
    ) -> Genotype:
        """The architecture of a full set of choices."""
        config = self.config
        has_widths = len(config.width_choices) > 1
        return Genotype.from_choices(
            config.levels,
            edges,
            operations,
            widths=tuple(widths) if has_widths else None,
            edge_scale=config.edge_scale,
        )
