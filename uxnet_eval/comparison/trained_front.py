"""A search's own measure beside the Dice of full trainings of the same networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd
from scipy.stats import kendalltau

from search_space import Genotype
from search_space.errors import UserError

from ..runs.front_record import FrontRecord, Measured
from ..runs.names import GENOTYPE_NAME
from .trainings import find_trainings

MIN_NETWORKS = 3
"""Fewer trained networks give no rank correlation."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A network of a search that was trained from scratch too.

    Attributes:
        measured: what the search measured of it.
        dice: mean Dice of its trainings over the folds that all networks have, in [0, 1].
        num_trainings: the number of these trainings.
    """

    measured: Measured
    dice: float
    num_trainings: int


def trained_networks(record: FrontRecord, sources: Sequence[str]) -> list[TrainedNetwork]:
    """The networks of a search that ``sources`` hold trainings of, the best trained first.

    Args:
        record: of the search.
        sources: NNI experiments or folders, as for ``uxnet compare``.

    Raises:
        UserError: if none of the trainings is of a network of this search, or if no fold is common
            to all of them.
    """
    dices: dict[Genotype, dict[int, list[float]]] = {}
    for training in find_trainings(sources).finished:
        path = training.folder / GENOTYPE_NAME
        if path.exists():
            by_fold = dices.setdefault(Genotype.load(path), {})
            by_fold.setdefault(int(training.result["fold"]), []).append(float(training.result["default"]))
    pairs = [
        (measured, dices[genotype])
        for measured in record.measured
        if (genotype := Genotype.from_dict(measured.genotype)) in dices
    ]
    if not pairs:
        raise UserError(f"{', '.join(sources)}: hold no training of a network of this search")
    # A fold's cases may be harder than another's, so only folds that all networks have count.
    folds = set.intersection(*(set(by_fold) for _, by_fold in pairs))
    if not folds:
        raise UserError(
            f"{', '.join(sources)}: the networks of this search are trained on different folds; train all on one"
        )
    found = [
        TrainedNetwork(
            measured,
            fmean(fmean(by_fold[fold]) for fold in folds),
            sum(len(by_fold[fold]) for fold in folds),
        )
        for measured, by_fold in pairs
    ]
    return sorted(found, key=lambda network: -network.dice)


def trained_csv(networks: Sequence[TrainedNetwork]) -> str:
    """The networks as comma-separated values, one row for each."""
    columns = ("multiply_adds", "parameters", "inherited_dice", "finetuned_dice")
    rows = [
        {
            **{name: getattr(network.measured, name) for name in columns},
            "trained_dice": network.dice,
            "num_trainings": network.num_trainings,
        }
        for network in networks
    ]
    return str(pd.DataFrame(rows).to_csv(index=False, float_format="%.6f"))


def rank_correlations(networks: Sequence[TrainedNetwork]) -> dict[str, tuple[float, float]]:
    """Kendall's tau, and its p-value, of each measure of the search with the trained Dice.

    ``inherited``: Dice with shared weights; ``finetuned``: after the short training; each if the
    search has measured it for all. Empty for fewer than three networks.
    """
    if len(networks) < MIN_NETWORKS:
        return {}
    trained = [network.dice for network in networks]
    measures = {
        "inherited": [network.measured.inherited_dice for network in networks],
        "finetuned": [network.measured.finetuned_dice for network in networks],
    }
    found = {}
    for name, values in measures.items():
        if None not in values:
            result = kendalltau(values, trained)
            found[name] = float(result.statistic), float(result.pvalue)
    return found
