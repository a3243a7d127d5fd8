"""A search's own measure beside the Dice of full trainings of the same networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        dice: mean Dice of its trainings, in [0, 1].
        num_trainings: their number.
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
        UserError: if none of the trainings is of a network of this search.
    """
    dices: dict[Genotype, list[float]] = {}
    for training in find_trainings(sources).finished:
        path = training.folder / GENOTYPE_NAME
        if path.exists():
            dices.setdefault(Genotype.load(path), []).append(float(training.result["default"]))
    found = [
        TrainedNetwork(measured, sum(values) / len(values), len(values))
        for measured in record.measured
        if (values := dices.get(Genotype.from_dict(measured.genotype)))
    ]
    if not found:
        raise UserError(f"{', '.join(sources)}: hold no training of a network of this search")
    return sorted(found, key=lambda network: -network.dice)


def rank_correlations(networks: Sequence[TrainedNetwork]) -> dict[str, tuple[float, float]]:
    """Kendall's tau, and its p-value, of each measure of the search with the trained Dice.

    ``inherited``: Dice with shared weights; ``finetuned``: after the short training, if the search
    has them. Empty for fewer than three networks.
    """
    if len(networks) < MIN_NETWORKS:
        return {}
    trained = [network.dice for network in networks]
    measures = {"inherited": [network.measured.inherited_dice for network in networks]}
    finetuned = [network.measured.finetuned_dice for network in networks]
    if None not in finetuned:
        measures["finetuned"] = [dice for dice in finetuned if dice is not None]
    found = {}
    for name, values in measures.items():
        result = kendalltau(values, trained)
        found[name] = float(result.statistic), float(result.pvalue)
    return found
