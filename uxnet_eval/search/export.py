"""From a finished search to a genotype: of an NNI experiment, of one trial, or of a run by hand.

If the trials of an experiment are trainings (a selection), the genotype is the one that the best
of them trained.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search_space.errors import UserError, nearest
from search_space.genotype import Genotype

from ..nni_experiments.sources import find_source
from ..runs.front_record import FrontRecord
from ..runs.names import FRONT_NAME, GENOTYPE_NAME, RESULT_NAME, SEARCH_NAME
from ..runs.search_record import SearchRecord
from ..runs.trial_record import Experiment, TrialRecord

logger = logging.getLogger(__name__)


def export_genotype(
    source: str | os.PathLike[str],
    *,
    prune_threshold: float | None = None,
    trial: str | None = None,
    by: str = "default",
    max_multiply_adds: float | None = None,
    max_parameters: float | None = None,
    max_latency_ms: float | None = None,
) -> tuple[Genotype, TrialRecord | None]:
    """The genotype of a search, or the best that an experiment of trainings was given.

    Args:
        source: an NNI experiment's id or folder, or the output folder of a search (a trial's, or
            one by hand).
        prune_threshold: tau; None: that of the search. Another one needs no new search.
        trial: id of the trial; None: the best one.
        by: key of the final results that decides which trial is best (the highest wins).
        max_multiply_adds: take the best network of at most this cost; needs a search with a front.
        max_parameters: likewise.
        max_latency_ms: likewise, on this machine.

    Returns:
        The genotype, and NNI's record of the trial; None in its place if ``source`` is an output
            folder.

    Raises:
        UserError: if ``source`` or ``trial`` is not known, no trial has a final result, or its
            record of the search cannot be read.
    """
    limits = {
        "multiply_adds": max_multiply_adds,
        "parameters": max_parameters,
        "latency_ms": max_latency_ms,
    }
    folder = Path(source)
    if (folder / SEARCH_NAME).is_file() or (folder / FRONT_NAME).is_file():
        if trial is not None:
            raise UserError(f"{source}: this is the output of one search; leave the trial's id out")
        return _genotype_of(folder, prune_threshold, limits, {}), None
    experiment = find_search_experiment(source)
    chosen = _named_trial(experiment, trial) if trial is not None else best_trial(experiment, by)
    provenance = {
        "experiment_id": experiment.id,
        "trial_id": chosen.id,
        "trial_sequence": chosen.sequence,
        "parameters": dict(chosen.parameters),
        "search_score": {"key": by, "value": None if chosen.final is None else chosen.final.get(by)},
    }
    is_search = any((chosen.output / name).exists() for name in (SEARCH_NAME, FRONT_NAME))
    if (chosen.output / RESULT_NAME).is_file() and not is_search:
        return _trained_genotype(chosen, prune_threshold), chosen
    return _genotype_of(chosen.output, prune_threshold, limits, provenance), chosen


def _genotype_of(
    folder: Path,
    prune_threshold: float | None,
    limits: Mapping[str, float | None],
    provenance: dict[str, Any],
) -> Genotype:
    """The genotype of a search's output folder, at a threshold or the best within limits."""
    if not (folder / FRONT_NAME).is_file():
        if any(limit is not None for limit in limits.values()):
            raise UserError(
                f"{folder}: has no front to choose from by cost; search with strategy: single-path"
            )
        return SearchRecord.load(folder).genotype(prune_threshold, provenance)
    if prune_threshold is not None:
        raise UserError(f"{folder}: this search has no gates to prune; leave the prune threshold out")
    record = FrontRecord.load(folder)
    if not record.is_finished:
        logger.warning("%s: the search is not finished; the network is the best so far", folder)
    if limits["latency_ms"] is not None:
        from .latencies import check_same_machine  # needs PyTorch, which other exports do not

        check_same_machine(folder)
    given = limits if any(limits.values()) else {"multiply_adds": record.multiply_adds}
    best = record.best(**given)
    found: dict[str, Any] = {
        "search_dice": best.dice,
        "multiply_adds": best.cost.multiply_adds,
        "parameters": best.cost.parameters,
    }
    if best.latency_ms is not None:
        found["latency_ms"] = best.latency_ms
    return best.genotype.model_copy(update={"provenance": {**record.provenance, **found, **provenance}})


def find_search_experiment(source: str | os.PathLike[str]) -> Experiment:
    """The NNI experiment with this id or folder; raises :class:`UserError` if there is none."""
    found = find_source(source)
    if isinstance(found, Path):
        raise UserError(
            f"{source}: holds neither {SEARCH_NAME} (output of a search) nor db/nni.sqlite (NNI experiment); "
            "give one of these folders or an experiment's id"
        )
    return found


def _trained_genotype(trial: TrialRecord, prune_threshold: float | None) -> Genotype:
    """The genotype that a trial of an experiment of trainings trained."""
    if prune_threshold is not None:
        raise UserError(
            f"trial {trial.id}: is a training of a fixed genotype; leave the prune threshold out, or export from the "
            "search"
        )
    path = trial.output / GENOTYPE_NAME
    if not path.is_file():
        raise UserError(
            f"trial {trial.id}: trained a baseline, which has no genotype; name another with --trial"
        )
    return Genotype.load(path)


def best_trial(experiment: Experiment, by: str = "default") -> TrialRecord:
    """The trial with the highest final ``by`` (the first of equal ones).

    Warns of trials without a final result.

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


def _named_trial(experiment: Experiment, trial_id: str) -> TrialRecord:
    trials = {trial.id: trial for trial in experiment.trials()}
    if trial_id not in trials:
        raise UserError(
            f"experiment {experiment.id} has no trial '{trial_id}'{nearest(trial_id, trials)}; "
            f"it has {', '.join(trials) or 'none yet'}"
        )
    return trials[trial_id]


def _statuses(trials: Sequence[TrialRecord]) -> str:
    return ", ".join(f"{trial.id} {trial.status}" for trial in trials) or "it has not started any"
