"""Random architectures of a space, within cost limits; plain Python, no tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from search_space.config import SearchSpaceConfig
from search_space.errors import UserError
from search_space.genotype import Genotype
from search_space.grid import Edge, Layer, live_edges
from search_space.presets import default_operation, unet_edges, unet_pass_through

MAX_DRAWS, MAX_STEPS, MAX_IDLE = 20, 2000, 500
"""Largest number of random starts, of single changes that may lead a start into the limits, and of
changes in a row that bring it no nearer."""

Choices = dict[str, Any]
"""One value per label: 0 or 1 for an edge, a name for a layer, a factor for ``width/<level>``."""


@dataclass(frozen=True)
class Sampler:
    """Random architectures of a space.

    The labels are those of :class:`search_space.space.UXNetSpace`.

    Args:
        config: the space.
        unet_share: probability that a random architecture is drawn near the U-Net: it then keeps a
            uniformly drawn fraction of the U-Net's choices.
    """

    config: SearchSpaceConfig
    unet_share: float = 0.0

    @cached_property
    def anchors(self) -> frozenset[Edge]:
        """The edges that are always present."""
        config = self.config
        is_fixed = config.anchored_edges or not config.search_edges
        return unet_edges(config.levels) if is_fixed else frozenset()

    @cached_property
    def free_edges(self) -> tuple[Edge, ...]:
        """The searched edges."""
        if not self.config.search_edges:
            return ()
        return tuple(edge for edge in self.config.grid.edges if edge not in self.anchors)

    @cached_property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """All choices with their possible values, by label."""
        config = self.config
        choices: dict[str, tuple[Any, ...]] = {str(edge): (0, 1) for edge in self.free_edges}
        choices |= {str(layer): self._operations(layer) for layer in config.grid.layers}
        return choices | {f"width/{level}": config.width_choices for level in range(config.levels)}

    @cached_property
    def unet(self) -> Choices:
        """The choices of the U-Net: its edges and operations, and the widths nearest to 1.

        Where the space does not offer the U-Net's operation, it is the first candidate.
        """
        edges, passing = unet_edges(self.config.levels), unet_pass_through(self.config.levels)
        found: Choices = {str(edge): int(edge in edges) for edge in self.free_edges}
        for layer in self.config.grid.layers:
            passes = layer.kind == "normal" and layer.node in passing
            values = self.choices[str(layer)]
            name = "identity" if passes else default_operation(layer)
            found[str(layer)] = name if name in values else values[0]
        for level in range(self.config.levels):
            found[f"width/{level}"] = min(self.config.width_choices, key=lambda factor: abs(factor - 1))
        return found

    def _operations(self, layer: Layer) -> tuple[str, ...]:
        config = self.config
        hands_on = layer.kind == "normal" and layer.node in unet_pass_through(config.levels)
        if hands_on and (not config.search_edges or (config.pass_through and not config.search_blocks)):
            return ("identity",)
        return config.layer_candidates(layer) if config.search_blocks else (default_operation(layer),)

    def genotype(self, choices: Mapping[str, Any]) -> Genotype:
        """The genotype of a full set of choices; a cut-off output raises :class:`UserError`."""
        config = self.config
        edges = {*self.anchors, *(edge for edge in self.free_edges if choices[str(edge)])}
        if not live_edges(config.grid, edges):
            raise UserError("no path of edges leads to the output")
        widths = tuple(choices[f"width/{level}"] for level in range(config.levels))
        return Genotype.from_choices(
            config.levels,
            edges,
            {layer: choices[str(layer)] for layer in config.grid.layers},
            widths=widths if len(config.width_choices) > 1 else None,
            edge_scale=config.edge_scale,
        )

    def draw_choices(
        self, random: Random, excess: Callable[[Genotype], float] | None = None
    ) -> tuple[Choices, Genotype]:
        """One random set of choices, and its genotype.

        First, the fraction of free edges is drawn uniformly; then edges, operations and widths.
        With the probability ``unet_share``, some choices are then those of the U-Net. An
        architecture outside the limits is changed step by step: one choice is drawn again, and the
        change stays unless it moves the architecture further from the limits.

        Args:
            random: the random numbers.
            excess: how far a genotype exceeds the limits; 0 if it keeps them; None: no limits.

        Raises:
            UserError: if none of 20 starts ends within the limits.
        """
        for _ in range(MAX_DRAWS):
            share = random.random()
            choices = {name: random.choice(values) for name, values in self.choices.items()}
            choices |= {str(edge): int(random.random() < share) for edge in self.free_edges}
            if self.unet_share and random.random() < self.unet_share:
                kept = random.random()
                choices |= {name: value for name, value in self.unet.items() if random.random() < kept}
            found = self.led_into_limits(random, choices, excess)
            if found is not None:
                return choices, found
        raise UserError("no random architecture was found within the limits of cost; widen them")

    def led_into_limits(
        self, random: Random, choices: Choices, excess: Callable[[Genotype], float] | None
    ) -> Genotype | None:
        """The genotype of choices, after changing them step by step until it keeps the limits.

        Args:
            random: the random numbers.
            choices: a full set of choices; changed in place.
            excess: see :meth:`draw_choices`.

        Returns:
            None if the output is cut off, if the limits are not reached in 2000 changes, or if 500
            changes in a row come no nearer to them.
        """
        try:
            genotype = self.genotype(choices)
        except UserError:
            return None
        if excess is None:
            return genotype
        beyond, names, idle = excess(genotype), list(self.choices), 0
        for _ in range(MAX_STEPS):
            if beyond == 0:
                return genotype
            if idle == MAX_IDLE:
                return None
            name, idle = random.choice(names), idle + 1
            before = choices[name]
            choices[name] = random.choice(self.choices[name])
            try:
                changed = self.genotype(choices)
            except UserError:
                choices[name] = before
                continue
            now = excess(changed)
            if now <= beyond:
                idle = idle if now == beyond else 0
                beyond, genotype = now, changed
            else:
                choices[name] = before
        return None

    def draw(self, random: Random, excess: Callable[[Genotype], float] | None = None) -> Genotype:
        """One random architecture; see :meth:`draw_choices`."""
        return self.draw_choices(random, excess)[1]
