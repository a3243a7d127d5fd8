"""A discrete architecture: kept edges and the operation of each layer; plain Python, no tensors.

Channels, strides and the number of input channels are not part of it. A genotype therefore also
fits other widths and other data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import (
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    ValidationError,
    field_serializer,
    model_validator,
)

from .checksum import CHECKSUM, checksum, without_checksum
from .errors import UserError
from .grid import Edge, Grid, Layer, Node, live_edges, live_nodes
from .operations import KINDS, check_operation
from .reading import read_json
from .replacing import replacing
from .strict import StrictConfig, faults_in_words

FORMAT = "uxnet-genotype"
VERSION = 2
"""Version 2 adds widths and edge scales. A genotype without them is written as version 1, so that
older programs can read it."""
EXTENSION = ("widths", "edge_scale")
"""The keys that version 1 does not have."""


def _without_extension(values: dict[str, Any]) -> dict[str, Any]:
    for key in EXTENSION:
        if key in values:
            raise UserError(f"genotype: version 1 has no key '{key}'; write version 2")
    return values


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _without_extension}
"""For each older version, the function that turns its keys and values into the next version."""


def parse_layer(name: str) -> Layer:
    """The layer of a name such as ``N1.0/normal``; any other name raises :class:`UserError`."""
    node, _, kind = name.partition("/")
    if kind not in KINDS:
        raise UserError(
            f"'{name}' is not a layer; expected a name such as N1.0/normal (kinds: {', '.join(KINDS)})"
        )
    return Layer(Node.parse(node), kind)


NamedEdge = Annotated[
    Edge, PlainValidator(lambda edge: edge if isinstance(edge, Edge) else Edge.parse(str(edge)))
]
NamedLayer = Annotated[
    Layer, PlainValidator(lambda layer: layer if isinstance(layer, Layer) else parse_layer(str(layer)))
]


class Genotype(StrictConfig):
    """An architecture of the grid, reduced to the edges and layers that the output depends on.

    Build it with :meth:`from_choices`, :meth:`from_dict` or :meth:`load`, which raise
    :class:`UserError`. Two genotypes are equal if all fields except ``provenance`` are equal.

    Raises:
        pydantic.ValidationError: from the constructor, if an edge or layer is not part of the grid,
            an edge is dead, the output is cut off, or an operation is missing, superfluous or
            unknown.
    """

    levels: Annotated[StrictInt, Field(ge=1, le=12)]
    """Number of levels of the grid."""
    edges: tuple[NamedEdge, ...]
    """Kept edges in the grid's order; each lies on a path from the input to the output node."""
    operations: dict[NamedLayer, str]
    """Operation of each built layer, by layer (``N1.0/normal``)."""
    widths: tuple[float, ...] | None = None
    """Factor on the channels of each level 0..L-1, from 0.1 to 10; None: 1 everywhere."""
    edge_scale: StrictBool = False
    """Whether each edge has a learned scale per channel."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Origin (data set, seed, threshold, gates, alphas, versions); free form."""

    @model_validator(mode="after")
    def _check(self) -> Genotype:
        edges = tuple(sorted(set(self.edges), key=self._order))
        live = live_edges(self.grid, edges)
        if not live:
            raise UserError(f"genotype: no path of edges leads from {self.grid.input} to {self.grid.output}")
        dead = [str(edge) for edge in edges if edge not in live]
        if dead:
            raise UserError(
                f"genotype: dead edges {', '.join(dead)}: not between the input and the output node"
            )
        object.__setattr__(self, "edges", edges)
        widths = self.widths
        if widths is not None and not (len(widths) == self.levels and all(0.1 <= w <= 10 for w in widths)):
            raise UserError(
                f"genotype: widths are {list(widths)}; expected {self.levels} factors from 0.1 to 10"
            )
        due = set(self.layers)
        for layer in sorted(due - set(self.operations), key=str):
            raise UserError(f"genotype: layer {layer} has no operation")
        for layer in sorted(set(self.operations) - due, key=str):
            raise UserError(f"genotype: layer {layer} is not part of the live network; remove it")
        for layer, name in self.operations.items():
            check_operation(name, layer.kind, 3, f"genotype: layer {layer}")
        object.__setattr__(self, "operations", {layer: self.operations[layer] for layer in self.layers})
        return self

    @property
    def _compared(self) -> tuple[Any, ...]:
        return self.levels, self.edges, tuple(self.operations.items()), self.widths, self.edge_scale

    def __eq__(self, other: object) -> bool:
        return self._compared == other._compared if isinstance(other, Genotype) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._compared)

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
        """The built layers; a node has an expansion layer only if a coarser level enters it."""
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
        *,
        widths: Iterable[float] | None = None,
        edge_scale: bool = False,
    ) -> Genotype:
        """The genotype of a full set of choices, without dead edges and unused layers (rule b).

        Args:
            levels: number of levels of the grid.
            edges: the chosen edges.
            operations: the operation of each layer.
            provenance: origin of the genotype, free form.
            widths: factor on the channels of each level; None: 1 everywhere.
            edge_scale: whether each edge has a learned scale per channel.

        Raises:
            UserError: if the edges cut the output off from the input, or a choice is invalid.
        """
        kept = tuple(live_edges(Grid(levels), edges))
        nodes = live_nodes(kept)
        expanded = {edge.target for edge in kept if edge.is_coarse}
        used = {
            layer: name
            for layer, name in operations.items()
            if layer.node in nodes and (layer.kind != "expansion" or layer.node in expanded)
        }
        values = {
            "levels": levels,
            "edges": kept,
            "operations": used,
            "widths": widths if widths is None else tuple(widths),
            "edge_scale": edge_scale,
            "provenance": dict(provenance or {}),
        }
        return cls.parse(values, "")

    @field_serializer("edges")
    def _edge_names(self, edges: tuple[Edge, ...]) -> list[str]:
        return [str(edge) for edge in edges]

    @field_serializer("operations")
    def _operations_by_name(self, operations: dict[Layer, str]) -> dict[str, str]:
        return {str(layer): name for layer, name in operations.items()}

    def to_dict(self) -> dict[str, Any]:
        """The content of the JSON file: format, version and fields; edges and layers by name."""
        is_extended = self.widths is not None or self.edge_scale
        fields = self.model_dump(exclude=set() if is_extended else set(EXTENSION))
        return {"format": FORMAT, "version": VERSION if is_extended else 1, **fields}

    @classmethod
    def from_dict(cls, values: Any, source: str = "genotype") -> Genotype:
        """The genotype in ``values``, which have the form of :meth:`to_dict`.

        Args:
            values: parsed JSON.
            source: a file name; it begins the error message.

        Raises:
            UserError: for another format, an unknown version or an invalid genotype; one line.
        """
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise UserError(
                f'{source}: not a genotype (its "format" is not "{FORMAT}"); make one with uxnet export'
            )
        version = values.get("version")
        if type(version) is not int or (version != VERSION and version not in UPGRADES):
            raise UserError(
                f"{source}: genotype version {version!r}, this program reads {_readable()}; "
                "export it again with this version"
            )
        values = {key: value for key, value in values.items() if key not in ("format", "version")}
        try:
            for older in range(version, VERSION):
                values = UPGRADES[older](values)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None
        return cls.parse(values, source)

    @classmethod
    def parse(cls, values: Any, source: str) -> Genotype:
        """The genotype of its fields; edges and layers are objects or names (:meth:`from_dict`)."""
        try:
            return cls(**values)
        except ValidationError as error:
            malformed = {fault["loc"] for fault in error.errors() if fault["type"].endswith("_type")}
            if malformed & {("levels",), ("edges",), ("operations",)}:
                message = "expected levels (integer), edges (list) and operations (object)"
            elif ("provenance",) in malformed:
                message = "provenance must be an object"
            else:
                message = faults_in_words(error)
            raise UserError(f"{source}: {message}" if source else message) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the genotype as JSON, completely or not at all.

        Its checksum stands in the provenance, which older programs do not look into.
        """
        values = self.to_dict()
        values["provenance"] = {**self.provenance, CHECKSUM: checksum(values)}
        with replacing(path) as part:
            part.write_text(json.dumps(values, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Genotype:
        """The genotype in a JSON file; a :class:`UserError` begins with the file's name."""
        try:
            values = read_json(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); give a genotype file") from None
        except ValueError as error:
            raise UserError(f"{path}: {error}; export the genotype again") from None
        return cls.from_dict(_verified(values, str(path)), source=str(path))


def _verified(values: Any, source: str) -> Any:
    """The content of a file without the checksum in its provenance."""
    provenance = values.get("provenance") if isinstance(values, dict) else None
    if not isinstance(provenance, dict) or CHECKSUM not in provenance:
        return values
    rest = {key: value for key, value in provenance.items() if key != CHECKSUM}
    try:
        content = without_checksum({**values, "provenance": rest, CHECKSUM: provenance[CHECKSUM]})
    except ValueError as error:
        raise UserError(f"{source}: {error}; export the genotype again") from None
    return content


def _readable() -> str:
    """The versions that this program reads, for an error message."""
    return ", ".join(map(str, (*sorted(UPGRADES), VERSION)))
