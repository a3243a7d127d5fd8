"""Choosing architectures by measurement: each is trained briefly, then scored."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from search_space import Genotype
from strategies.single_path.limits import Limits
from strategies.single_path.proposals import Measure
from strategies.single_path.sampling import Sampler

from ..config.search import RunConfig
from ..networks.network_latencies import NetworkLatencies
from ..nni_guards import report_final
from ..recipe.progress import tell
from ..runs.files import write_json
from ..runs.front_record import FrontRecord, Measured
from ..runs.names import FRONT_NAME, GENOTYPE_NAME, RESULT_NAME
from .data import SearchData
from .short_training import ShortTraining, fine_tuning, from_random_weights
from .single_path_module import SinglePathModule, fresh_networks
from .single_path_reporting import ChoiceReporter

logger = logging.getLogger(__name__)

LOGGED_EVERY = 5
"""Measurements between two lines of progress."""


class _TimeIsUp(Exception):
    """Ends the exploration of a budget."""


class Explore(Protocol):
    """Proposes architectures, measures them, and proposes better ones."""

    def __call__(
        self,
        sampler: Sampler,
        measure: Measure,
        *,
        excess: Callable[[Genotype], float],
        num_measured: int,
        population: int,
        seed: int,
    ) -> None: ...


Expect = Callable[[Sequence[Genotype], Sequence[float]], list[float]]


class Chooser:
    """Measures architectures for one budget after the other, each architecture once.

    Args:
        config: resolved.
        data: the cases; both streams of it are left alone.
        device: where it is computed.
        precision: Lightning's name of the number format.
        folder: the output folder.
        events: folder of the TensorBoard events.
        budget: multiply-adds of one patch.
        provenance: kept with every genotype.
        latencies: of networks on this machine; None: they stay unknown.
        start: gives the network that a short training begins with.
        inherited: computes an architecture with shared weights; None: there are none.
        explore: how architectures are proposed.
        expect: gives the Dice to rank architectures by from all that were measured for a budget;
            None: each is ranked by its own.
    """

    def __init__(
        self,
        config: RunConfig,
        data: SearchData,
        device: torch.device,
        precision: str,
        folder: Path,
        events: Path,
        budget: float,
        provenance: dict[str, Any],
        latencies: NetworkLatencies | None,
        *,
        start: Callable[[Genotype], nn.Module],
        inherited: SinglePathModule | None,
        explore: Explore,
        expect: Expect | None = None,
    ) -> None:
        self._latencies = latencies
        self._config, self._folder = config, folder
        self._training = ShortTraining(config, data, device, precision)
        self._start, self._inherited = start, inherited
        self._explore, self._expect = explore, expect
        if (folder / FRONT_NAME).exists():
            self.record = FrontRecord.load(folder)
        else:
            self.record = FrontRecord(multiply_adds=budget, provenance=provenance)
        self._reporter = ChoiceReporter(folder, events, self.record, to_nni=inherited is None)
        self._times_s: list[float] = []
        self._num_budgets = 0
        self._known = {_key(Genotype.from_dict(each.genotype)): each for each in self.record.measured}

    def choose(self, share: float, limits: Limits, sampler: Sampler) -> None:
        """Explores architectures of a space within the limits of one budget.

        If latency is limited, each architecture's is measured, and corrects what is expected of the
        next. One that exceeds the limit is trained too, but is no candidate.
        """
        choice = self._config.choice
        self.record.latency_ms = limits.latency_ms
        seen: list[str] = []
        self._num_budgets += 1
        end_s = float("inf")
        if choice.max_minutes is not None:
            end_s = 60 * choice.max_minutes * self._num_budgets / len(choice.budget_shares)

        def measure(genotype: Genotype) -> float:
            key = _key(genotype)
            if key not in self._known:
                if seen and self.record.spent_s >= end_s:
                    raise _TimeIsUp
                self._known[key] = self._measured(genotype, share, limits)
            self._latency_ms(genotype, limits)  # of one that an earlier process measured too
            seen.append(key)
            tell("measured", len(self.record.measured) / (choice.num_measured * len(choice.budget_shares)))
            if len(seen) % LOGGED_EVERY == 0 or len(seen) == choice.num_measured:
                self._log(share, seen)
            return self._known[key].measured_dice

        try:
            self._explore(
                sampler,
                measure,
                excess=limits.excess,
                num_measured=choice.num_measured,
                population=choice.population,
                seed=self._config.search.seed,
            )
        except _TimeIsUp:
            logger.warning(
                "budget %.2f: the time is up after %d of %d measurements",
                share,
                len(seen),
                choice.num_measured,
            )
        else:
            if len(seen) < choice.num_measured:
                logger.warning(
                    "budget %.2f: no further network was found within the limits after %d of %d measurements",
                    share,
                    len(seen),
                    choice.num_measured,
                )
        self._rank(share)
        self._train_finalists(share, limits)

    def _measured(self, genotype: Genotype, share: float, limits: Limits) -> Measured:
        started, cost = time.monotonic(), limits.cost(genotype)
        measured = Measured(
            genotype=genotype.to_dict(),
            budget_share=share,
            inherited_dice=self._inherited_dice(genotype),
            finetuned_dice=self._finetuned_dice(genotype),
            parameters=cost.parameters,
            multiply_adds=cost.multiply_adds,
            latency_ms=self._latency_ms(genotype, limits),
        )
        self._times_s.append(time.monotonic() - started)
        self.record.measured.append(measured)
        self.record.spent_s += self._times_s[-1]
        self.record.save(self._folder)
        self._reporter.measured()
        return measured

    def _latency_ms(self, genotype: Genotype, limits: Limits) -> float | None:
        """The latency, measured if it is limited; it is measured once."""
        if self._latencies is None:
            return None
        is_limited = limits.latency_ms is not None
        return (self._latencies.measured_ms if is_limited else self._latencies.expected_ms)(genotype)

    def close(self) -> None:
        """Closes the TensorBoard events; after an interruption too."""
        self._reporter.close()

    def finish(self, minutes: float) -> dict[str, float]:
        """Writes the best genotype within the budget, and the final result, which NNI gets too.

        Args:
            minutes: spent before the measurements.
        """
        self.record.is_finished = True
        self.record.save(self._folder)
        best = self.record.best(
            multiply_adds=self.record.multiply_adds, parameters=self._config.budget.max_parameters
        )
        genotype = best.genotype.model_copy(
            update={"provenance": {**self.record.provenance, "search_dice": best.dice}}
        )
        genotype.save(self._folder / GENOTYPE_NAME)
        final = {
            "default": best.dice,
            "edges_kept": len(genotype.edges),
            "parameters": best.cost.parameters,
            "multiply_adds": best.cost.multiply_adds,
            "num_measured": len(self.record.measured),
        }
        write_json(
            self._folder / RESULT_NAME,
            {**final, "search_minutes": round(minutes + self.record.spent_s / 60, 2)},
        )
        self._reporter.finish()
        report_final(final)
        logger.info("done: %s; genotype: %s", json.dumps(final), self._folder / GENOTYPE_NAME)
        return final

    def _log(self, share: float, seen: list[str]) -> None:
        num_left = self._config.choice.num_measured - len(seen)
        kept = (each for each in map(self._known.__getitem__, seen) if self.record.keeps_latency(each))
        logger.info(
            "budget %.2f: %d of %d measured, best Dice %.4f, about %s left for this budget",
            share,
            len(seen),
            self._config.choice.num_measured,
            max((each.measured_dice for each in kept), default=0.0),
            timedelta(seconds=round(num_left * sum(self._times_s) / max(1, len(self._times_s)))),
        )

    def _inherited_dice(self, genotype: Genotype) -> float | None:
        """Dice with shared weights; None if it is not asked for and a short training follows."""
        choice, module = self._config.choice, self._inherited
        if module is None or (choice.finetune_steps and not choice.measure_inherited):
            return None
        return self._training.dice(lambda image: module(image, genotype))

    def _finetuned_dice(self, genotype: Genotype) -> float | None:
        choice = self._config.choice
        if not choice.finetune_steps:
            return None
        if self._inherited is None:
            settings = from_random_weights(choice.finetune_steps, choice.finetune_learning_rate)
        else:
            settings = fine_tuning(self._config)
        return self._training.trained_dice(self._start(genotype), settings)

    def _places(self, share: float) -> list[int]:
        """Places of the record's networks of one budget."""
        return [i for i, each in enumerate(self.record.measured) if each.budget_share == share]

    def _rank(self, share: float) -> None:
        """Writes what is expected of the networks of one budget into the record."""
        if self._expect is None:
            return
        places, measured = self._places(share), self.record.measured
        expected = self._expect(
            [Genotype.from_dict(measured[place].genotype) for place in places],
            [measured[place].measured_dice for place in places],
        )
        for place, dice in zip(places, expected, strict=True):
            measured[place] = measured[place].model_copy(update={"expected_dice": dice})
        self.record.save(self._folder)

    def _train_finalists(self, share: float, limits: Limits) -> None:
        """Trains the best architectures of one budget once more, from random weights."""
        choice, settings = self._config.choice, self._config.search
        kept = (i for i in self._places(share) if self.record.keeps_latency(self.record.measured[i]))
        places = sorted(kept, key=lambda i: -self.record.measured[i].score)
        fresh = fresh_networks(limits.config, supervised=settings.deep_supervision, seed=settings.seed)
        for number, place in enumerate(places[: choice.finalists], start=1):
            measured = self.record.measured[place]
            if measured.finalist_dice is not None:
                continue
            started = time.monotonic()
            dice = self._training.trained_dice(
                fresh(Genotype.from_dict(measured.genotype)),
                from_random_weights(choice.finalist_steps, choice.finalist_learning_rate),
            )
            self.record.measured[place] = measured.model_copy(update={"finalist_dice": dice})
            self.record.spent_s += time.monotonic() - started
            self.record.save(self._folder)
            logger.info("budget %.2f: finalist %d of %d, Dice %.4f", share, number, choice.finalists, dice)


def _key(genotype: Genotype) -> str:
    """What tells two genotypes apart, as text."""
    return json.dumps(genotype.model_dump(exclude={"provenance"}), sort_keys=True)
