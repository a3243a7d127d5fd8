"""From a finished search to a genotype: of an NNI experiment, of one trial, or of a run by hand."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.errors import UserError, nearest
from search_space.genotype import Genotype, parse_layer
from search_space.grid import Edge, Grid, Layer
from strategies.pruning import derive

from .experiments import ExperimentRecord, TrialRecord, find_experiment, read_experiment

logger = logging.getLogger(__name__)

FORMAT = "uxnet-search"
VERSION = 1
FILE_NAME = "search.json"


@dataclass(frozen=True)
class SearchRecord:
    """The outcome of one search, from which a genotype follows for any threshold.

    Attributes:
        grid: the grid that was searched.
        gates: sigma(beta) of every searched edge, in [0, 1].
        alphas: per searched layer, the weight of each candidate.
        fixed_operations: the operation of every layer that was not searched.
        fixed_edges: edges that were not searched but always there.
        prune_threshold: tau of the run configuration.
        scores: final scores of the search by key (``default``, ``derived_dice`` ...).
        provenance: data set, seed, versions; free form.
    """

    grid: Grid
    gates: Mapping[Edge, float]
    alphas: Mapping[Layer, Mapping[str, float]]
    fixed_operations: Mapping[Layer, str]
    fixed_edges: tuple[Edge, ...]
    prune_threshold: float
    scores: Mapping[str, float]
    provenance: Mapping[str, Any]

    @classmethod
    def load(cls, output: str | os.PathLike[str]) -> SearchRecord:
        """The record in an output folder of a search.

        Raises:
            UserError: one line that begins with the file, if it is missing, half written, of another version,
                or names what is not of its grid.
        """
        file = Path(output) / FILE_NAME
        try:
            values = json.loads(file.read_text())
        except OSError as error:
            raise UserError(
                f"{file}: cannot be read ({error.strerror}); let the search validate once"
            ) from None
        except ValueError as error:
            raise UserError(
                f"{file}: not whole JSON ({error}); search again, or export another trial"
            ) from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise UserError(f'{file}: not the record of a search (its "format" is not "{FORMAT}")')
        if values.get("version") != VERSION:
            raise UserError(
                f"{file}: version {values.get('version')!r}, this program reads {VERSION}; "
                "export with the version that searched"
            )
        try:
            return cls._parse(values)
        except KeyError as error:
            raise UserError(f"{file}: key {error} is missing; search again") from None
        except (UserError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{file}: {error}") from None

    @classmethod
    def _parse(cls, values: Mapping[str, Any]) -> SearchRecord:
        grid = Grid(int(values["levels"]))
        gates = {Edge.parse(name): float(gate) for name, gate in values["gates"].items()}
        alphas = {
            parse_layer(name): {operation: float(alpha) for operation, alpha in weights.items()}
            for name, weights in values["alphas"].items()
        }
        fixed_operations = {
            parse_layer(name): str(op) for name, op in values.get("fixed_operations", {}).items()
        }
        fixed_edges = tuple(Edge.parse(name) for name in values.get("fixed_edges", ()))
        for edge in (*gates, *fixed_edges):
            if edge not in grid.edges:
                raise UserError(f"{edge} is not an edge of a grid with {grid.levels} levels")
        for edge, gate in gates.items():
            if not 0 <= gate <= 1:
                raise UserError(f"gate of {edge} is {gate}; expected a number from 0 to 1")
        for layer in (*alphas, *fixed_operations):
            if layer not in grid.layers:
                raise UserError(f"{layer} is not a layer of a grid with {grid.levels} levels")
        for layer in grid.layers:
            if layer not in fixed_operations and not alphas.get(layer):
                raise UserError(f"layer {layer} has neither alphas nor a fixed operation")
        for layer, weights in alphas.items():
            if not all(math.isfinite(alpha) for alpha in weights.values()):
                raise UserError(f"alphas of {layer} are not finite: the search has diverged")
        return cls(
            grid,
            gates,
            alphas,
            fixed_operations,
            fixed_edges,
            float(values["prune_threshold"]),
            dict(values.get("scores", {})),
            dict(values.get("provenance", {})),
        )

    def genotype(self, prune_threshold: float | None = None, **provenance: Any) -> Genotype:
        """The genotype at a threshold (None: the search's own), with ``provenance`` added to the search's."""
        threshold = self.prune_threshold if prune_threshold is None else prune_threshold
        if not 0 < threshold < 1:
            raise UserError(f"prune threshold {threshold:g}: expected a number between 0 and 1, such as 0.75")
        known = {
            **self.provenance,
            "prune_threshold": threshold,
            "scores": dict(self.scores),
            "gates": {str(edge): gate for edge, gate in self.gates.items()},
            "alphas": {str(layer): dict(weights) for layer, weights in self.alphas.items()},
            **provenance,
        }
        return derive(
            self.grid,
            self.gates,
            self.alphas,
            threshold,
            fixed_operations=self.fixed_operations,
            fixed_edges=self.fixed_edges,
            provenance=known,
        )


def export_genotype(
    source: str | os.PathLike[str],
    *,
    prune_threshold: float | None = None,
    trial: str | None = None,
    by: str = "default",
) -> tuple[Genotype, TrialRecord | None]:
    """The genotype of a search.

    Args:
        source: an NNI experiment's id or folder, or the output folder of a search (a trial's, or one by hand).
        prune_threshold: tau; None: that of the search. Another one needs no new search.
        trial: id of the trial; None: the best one.
        by: key of the final results that decides which trial is best (the highest wins).

    Returns:
        The genotype, and NNI's record of the trial; None in its place if ``source`` is an output folder.

    Raises:
        UserError: if ``source`` or ``trial`` is not known, no trial has a final result, or its record of the
            search cannot be read.
    """
    folder = Path(source)
    if (folder / FILE_NAME).is_file():
        if trial is not None:
            raise UserError(f"{source}: this is the output of one search; leave the trial's id out")
        return SearchRecord.load(folder).genotype(prune_threshold), None
    if (folder / "db" / "nni.sqlite").is_file():
        experiment = read_experiment(folder.absolute())
    elif folder.is_dir():
        raise UserError(
            f"{source}: holds neither {FILE_NAME} (output of a search) nor db/nni.sqlite (NNI experiment); "
            "give one of these folders or an experiment's id"
        )
    else:
        experiment = find_experiment(os.fspath(source))
    chosen = _named_trial(experiment, trial) if trial is not None else best_trial(experiment, by)
    score = None if chosen.final is None else chosen.final.get(by)
    genotype = SearchRecord.load(chosen.output).genotype(
        prune_threshold,
        experiment_id=experiment.id,
        trial_id=chosen.id,
        trial_sequence=chosen.sequence,
        parameters=dict(chosen.parameters),
        search_score={"key": by, "value": score},
    )
    return genotype, chosen


def best_trial(experiment: ExperimentRecord, by: str = "default") -> TrialRecord:
    """The trial with the highest final ``by`` (of equal ones the first); warns of trials without a final result.

    Raises:
        UserError: if no trial has a final result, or none has the key ``by``.
    """
    trials = experiment.trials()
    finished = [trial for trial in trials if trial.final is not None]
    for trial in trials:
        if trial.final is None:
            logger.warning("trial %s (%s) has no final result; skipped", trial.id, trial.status)
    if not finished:
        raise UserError(
            f"experiment {experiment.id}: none of its {len(trials)} trial(s) has a final result "
            f"({_statuses(trials)}); wait for one, or see the logs under {experiment.folder}"
        )
    scored = [(trial.final[by], trial) for trial in finished if trial.final is not None and by in trial.final]
    if not scored:
        keys = sorted({key for trial in finished for key in trial.final or ()})
        raise UserError(
            f"experiment {experiment.id}: no final result has '{by}'{nearest(by, keys)}; there are {', '.join(keys)}"
        )
    return max(scored, key=lambda pair: pair[0])[1]


def _named_trial(experiment: ExperimentRecord, trial_id: str) -> TrialRecord:
    trials = {trial.id: trial for trial in experiment.trials()}
    if trial_id not in trials:
        raise UserError(
            f"experiment {experiment.id} has no trial '{trial_id}'{nearest(trial_id, trials)}; "
            f"it has {', '.join(trials) or 'none yet'}"
        )
    return trials[trial_id]


def _statuses(trials: Sequence[TrialRecord]) -> str:
    return ", ".join(f"{trial.id} {trial.status}" for trial in trials) or "it has not started any"
