"""The record of a search, ``search.json``: all that later commands need, without PyTorch."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from search_space import Genotype
from search_space.errors import UserError
from search_space.genotype import parse_layer
from search_space.grid import Edge, Grid, Layer
from search_space.reading import read_json
from search_space.strict import StrictConfig
from strategies.pruning import derive

from .files import write_json
from .names import SEARCH_NAME
from .record_head import without_head

FORMAT = "uxnet-search"
VERSION = 1


class SearchRecord(StrictConfig):
    """State and history of a search; edges and layers stand by their names."""

    model_config = ConfigDict(frozen=False)  # the search writes each validation into it

    levels: int = Field(ge=2, le=12)
    """Levels of the grid."""
    spatial_dims: Literal[2, 3]
    """Spatial dimensions of the data: 2 or 3."""
    gates: dict[str, float]
    """sigma(beta) per searched edge."""
    alphas: dict[str, dict[str, float]]
    """softmax(alpha) per searched layer and candidate."""
    fixed_operations: dict[str, str] = Field(default_factory=dict)
    """The operation of every layer that is not searched."""
    fixed_edges: list[str] = Field(default_factory=list)
    """Edges that are not searched but always there."""
    edge_scale: bool = False
    """Whether each edge has a learned scale; written only if so, for older programs."""
    prune_threshold: float = Field(0.75, ge=0, le=1)
    """Threshold tau of the run."""
    scores: dict[str, float] = Field(default_factory=dict)
    """The newest ``default`` and ``derived_dice``."""
    history: list[dict[str, Any]] = Field(default_factory=list)
    """One entry per validation: ``epoch``, the scores, ``gates`` and ``alphas`` at that time."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Data set, seed, NNI ids, package versions."""

    @model_validator(mode="after")
    def _check_names_and_gates(self) -> SearchRecord:
        grid = Grid(self.levels)
        for edge in map(Edge.parse, (*self.gates, *self.fixed_edges)):
            if edge not in grid.edges:
                raise UserError(f"{edge} is not an edge of a grid with {self.levels} levels")
        for name, gate in self.gates.items():
            if not 0 <= gate <= 1:
                raise UserError(f"gate of {name} is {gate}; expected a number from 0 to 1")
        for layer in map(parse_layer, (*self.alphas, *self.fixed_operations)):
            if layer not in grid.layers:
                raise UserError(f"{layer} is not a layer of a grid with {self.levels} levels")
        return self

    def genotype(
        self, prune_threshold: float | None = None, provenance: Mapping[str, Any] | None = None
    ) -> Genotype:
        """The genotype at a threshold (None: the run's own).

        Its provenance holds gates, alphas and scores.
        """
        threshold = self.prune_threshold if prune_threshold is None else prune_threshold
        if not 0 < threshold < 1:
            raise UserError(f"prune threshold {threshold:g}: expected a number between 0 and 1, such as 0.75")
        return derive(
            Grid(self.levels),
            {Edge.parse(name): gate for name, gate in self.gates.items()},
            {parse_layer(name): weights for name, weights in self.alphas.items()},
            threshold,
            fixed_operations={parse_layer(name): op for name, op in self.fixed_operations.items()},
            fixed_edges=[Edge.parse(name) for name in self.fixed_edges],
            edge_scale=self.edge_scale,
            provenance={
                **self.provenance,
                "spatial_dims": self.spatial_dims,
                "prune_threshold": threshold,
                "scores": self.scores,
                "gates": self.gates,
                "alphas": self.alphas,
                **(provenance or {}),
            },
        )

    def save(self, folder: Path) -> None:
        """Writes ``search.json`` into ``folder``, whole or not at all."""
        values = self.model_dump(exclude=None if self.edge_scale else {"edge_scale"})
        write_json(folder / SEARCH_NAME, {"format": FORMAT, "version": VERSION, **values})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SearchRecord:
        """The record in a file, or in the output folder of a run.

        Raises:
            UserError: if there is none, it is half-written or of another version, or its content
                cannot be.
        """
        path = Path(path)
        if path.is_dir():
            path = path / SEARCH_NAME
        try:
            values = read_json(path)
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read ({error.strerror}); a search writes it at its first validation"
            ) from None
        except ValueError as error:
            raise UserError(f"{path}: {error}; run the search again") from None
        foreign = f'not the record of a search (its "format" is not "{FORMAT}"); give the output folder of uxnet search'
        values = without_head(
            values, path, format_name=FORMAT, version=VERSION, foreign=foreign, advice="; search again"
        )
        source = f"{path}: the record of a search is incomplete or damaged"
        try:
            record: SearchRecord = cls.parse(values, source)
            record._check_layers(source)
        except UserError as error:
            raise UserError(f"{error}; search again") from None
        return record

    def _check_layers(self, source: str) -> None:
        """Raises if a layer has no operation to choose, as before the first validation."""
        edges = [Edge.parse(name) for name in (*self.gates, *self.fixed_edges)]
        expanded = {edge.target for edge in edges if edge.is_coarse}
        for layer in Grid(self.levels).layers:
            if layer.kind == "expansion" and layer.node not in expanded:
                continue  # with the U-Net's edges, most nodes have none
            name = str(layer)
            weights = self.alphas.get(name, {})
            if not weights and name not in self.fixed_operations:
                raise UserError(f"{source}: layer {name} has neither alphas nor a fixed operation")
            if not all(math.isfinite(weight) for weight in weights.values()):
                raise UserError(f"{source}: alphas of {name} are not finite: the search has diverged")


def named(values: Mapping[Edge, float] | Mapping[Layer, Any] | Collection[Edge]) -> Any:
    """The same with edges and layers by name."""
    if isinstance(values, Mapping):
        return {str(key): value for key, value in values.items()}
    return [str(edge) for edge in values]
