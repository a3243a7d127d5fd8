"""A discrete architecture: which edges are kept and which operation each layer uses; plain Python, no tensors.

Channels, strides and the number of input channels are not part of it, so it carries over to other widths and data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import UserError, nearest
from .grid import Edge, Grid, Layer, Node, live_edges, live_nodes
from .operations import KINDS, check_operation

FORMAT = "uxnet-genotype"
VERSION = 1


@dataclass(frozen=True)
class Genotype:
    """An architecture of the grid, reduced to what lives.

    Attributes:
        levels: number of levels of the grid.
        edges: the kept edges; each lies on a path from the input to the output node.
        operations: the operation of every layer that is built, by layer (``N1.0/normal``).
        provenance: where it comes from (data set, seed, threshold, gates, alphas, versions); free form.

    Raises:
        UserError: if an edge or layer is not of the grid, an edge is dead, the output is cut off, an operation
            is missing, superfluous or unknown. Use :meth:`from_choices` to reduce a full set of choices.
    """

    levels: int
    edges: tuple[Edge, ...]
    operations: Mapping[Layer, str]
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(sorted(set(self.edges), key=self._order)))
        live = live_edges(self.grid, self.edges)
        if not live:
            raise UserError(f"genotype: no path of edges leads from {self.grid.input} to {self.grid.output}")
        dead = [str(edge) for edge in self.edges if edge not in live]
        if dead:
            raise UserError(
                f"genotype: dead edges {', '.join(dead)}: not between the input and the output node"
            )
        due = set(self.layers)
        for layer in sorted(due - set(self.operations), key=str):
            raise UserError(f"genotype: layer {layer} has no operation")
        for layer in sorted(set(self.operations) - due, key=str):
            raise UserError(f"genotype: layer {layer} is not part of the live network; remove it")
        for layer, name in self.operations.items():
            check_operation(name, layer.kind, 3, f"genotype: layer {layer}")
        object.__setattr__(self, "operations", {layer: self.operations[layer] for layer in self.layers})

    def _order(self, edge: Edge) -> int:
        edges = self.grid.edges
        if edge not in edges:
            raise UserError(f"genotype: {edge} is not an edge of a grid with {self.levels} levels")
        return edges.index(edge)

    @cached_property
    def grid(self) -> Grid:
        return Grid(self.levels)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The live nodes, in the order of computation."""
        live = live_nodes(self.edges)
        return tuple(node for node in self.grid.nodes if node in live)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are built: an expansion layer only where a coarser level enters."""
        expanded = {edge.target for edge in self.edges if edge.is_coarse}
        return tuple(
            layer
            for node in self.nodes
            for layer in self.grid.layers_of(node)
            if layer.kind != "expansion" or node in expanded
        )

    @classmethod
    def from_choices(
        cls,
        levels: int,
        edges: Iterable[Edge],
        operations: Mapping[Layer, str],
        provenance: Mapping[str, Any] | None = None,
    ) -> Genotype:
        """The genotype of a full set of choices: dead edges and unused layers are left out (rule b).

        Raises:
            UserError: if the output is cut off from the input.
        """
        kept = tuple(live_edges(Grid(levels), edges))
        nodes = live_nodes(kept)
        expanded = {edge.target for edge in kept if edge.is_coarse}
        used = {
            layer: name
            for layer, name in operations.items()
            if layer.node in nodes and (layer.kind != "expansion" or layer.node in expanded)
        }
        return cls(levels, kept, used, provenance or {})

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "levels": self.levels,
            "edges": [str(edge) for edge in self.edges],
            "operations": {str(layer): name for layer, name in self.operations.items()},
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, values: Any, source: str = "genotype") -> Genotype:
        """The genotype held by ``values`` (see :meth:`to_dict`).

        Args:
            values: parsed JSON.
            source: a file name, the beginning of the error message.

        Raises:
            UserError: one line, for another format, an unknown version, or a genotype that is not valid.
        """
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise UserError(
                f'{source}: not a genotype (its "format" is not "{FORMAT}"); make one with uxnet export'
            )
        if values.get("version") != VERSION:
            raise UserError(
                f"{source}: genotype version {values.get('version')!r}, this program reads {VERSION}; "
                "export it again with this version"
            )
        known = ("format", "version", "levels", "edges", "operations", "provenance")
        for key in values:
            if key not in known:
                raise UserError(f"{source}: unknown key '{key}'{nearest(key, known)}")
        try:
            levels, edges, operations = values["levels"], values["edges"], values["operations"]
        except KeyError as error:
            raise UserError(f"{source}: key {error} is missing") from None
        provenance = values.get("provenance", {})
        if type(levels) is not int or not isinstance(edges, list) or not isinstance(operations, dict):
            raise UserError(f"{source}: expected levels (integer), edges (list) and operations (object)")
        if not isinstance(provenance, dict):
            raise UserError(f"{source}: provenance must be an object")
        try:
            return cls(
                levels,
                tuple(Edge.parse(str(name)) for name in edges),
                {parse_layer(name): str(operation) for name, operation in operations.items()},
                provenance,
            )
        except UserError as error:
            raise UserError(f"{source}: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the genotype as JSON, whole or not at all."""
        path = Path(path)
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps(self.to_dict(), indent=2) + "\n")
        os.replace(part, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Genotype:
        """The genotype of a JSON file; raises :class:`UserError` that begins with the file's name."""
        try:
            values = json.loads(Path(path).read_text())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); give a genotype file") from None
        except ValueError as error:
            raise UserError(f"{path}: not JSON ({error}); export the genotype again") from None
        return cls.from_dict(values, source=str(path))


def parse_layer(name: str) -> Layer:
    """The layer of a name such as ``N1.0/normal``; raises :class:`UserError` for anything else."""
    node, _, kind = name.partition("/")
    if kind not in KINDS:
        raise UserError(
            f"'{name}' is not a layer; expected a name such as N1.0/normal (kinds: {', '.join(KINDS)})"
        )
    return Layer(Node.parse(node), kind)
