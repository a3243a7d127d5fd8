"""The record of a search by measurement, ``front.json``: measured architectures and their cost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from search_space import Genotype
from search_space.cost import Cost
from search_space.errors import UserError
from search_space.reading import read_json
from search_space.strict import StrictConfig
from strategies.single_path.effects import LEAST_NETWORKS, Effect, effects
from strategies.single_path.front import Candidate, best_within, front

from .files import write_json
from .names import FRONT_NAME
from .record_head import without_head

FORMAT, VERSION = "uxnet-front", 1


class Measured(StrictConfig):
    """One architecture and what was measured of it."""

    genotype: dict[str, Any]
    """Content of a genotype's file."""
    budget_share: float = Field(gt=0)
    """Share of the budget that it was drawn for."""
    inherited_dice: float | None = Field(None, ge=0, le=1)
    """Dice on the validation cases with the supernet's weights; None: not measured."""
    finetuned_dice: float | None = Field(None, ge=0, le=1)
    """Dice after a short training that starts from them; None: the search has no such trainings."""
    finalist_dice: float | None = Field(None, ge=0, le=1)
    """Dice of a finalist after a training from random weights; None: it is none, or not yet
    trained. It compares with that of other finalists alone."""
    expected_dice: float | None = None
    """The Dice that a regression on all networks of the budget expects; None: there is none."""
    parameters: int = Field(ge=1)
    """Number of parameters at the search's width."""
    multiply_adds: int = Field(ge=1)
    """Number of multiply-adds of one patch at the search's width."""
    latency_ms: float | None = Field(None, gt=0)
    """Time for one patch, in ms: measured if the record has a limit of it, else predicted by the
    table of latencies beside the record; None: there is no table."""

    @property
    def measured_dice(self) -> float:
        """The better founded of the first two Dice, one of which is always there."""
        return self.finetuned_dice if self.finetuned_dice is not None else self.inherited_dice or 0.0

    @property
    def score(self) -> float:
        """What ranks the network, apart from ``finalist_dice``."""
        return self.measured_dice if self.expected_dice is None else self.expected_dice

    @model_validator(mode="after")
    def _is_measured(self) -> Measured:
        if self.inherited_dice is None and self.finetuned_dice is None:
            raise ValueError("neither inherited_dice nor finetuned_dice is given")
        return self


class FrontRecord(StrictConfig):
    """All measurements of one search so far."""

    model_config = ConfigDict(frozen=False)

    is_finished: bool = False
    """Whether every budget has been searched."""
    multiply_adds: float = Field(gt=0)
    """The budget."""
    latency_ms: float | None = Field(None, gt=0)
    """The longest time for one patch, in ms. A search measures some networks that exceed it, and
    learns from them. They are no candidates. None: no limit."""
    measured: list[Measured] = Field(default_factory=list)
    """In the order of measurement."""
    spent_s: float = Field(0.0, ge=0)
    """Seconds of all these measurements."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Data set, seed, settings, package versions."""

    def save(self, folder: Path) -> None:
        """Writes ``front.json`` into ``folder``, whole or not at all."""
        values = self.model_dump(mode="json")
        if self.latency_ms is None:
            del values["latency_ms"]  # programs that do not know it read the file too
        for each in values["measured"]:
            if each["expected_dice"] is None:
                del each["expected_dice"]  # likewise
        write_json(folder / FRONT_NAME, {"format": FORMAT, "version": VERSION, **values})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> FrontRecord:
        """The record in the output folder of a search.

        Raises:
            UserError: if there is none, it is damaged or of another version.
        """
        path = Path(folder) / FRONT_NAME
        try:
            values = read_json(path)
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read ({error.strerror}); a search by measurement writes it with its "
                "first measured network"
            ) from None
        except ValueError as error:
            raise UserError(f"{path}: {error}; start the same search again to go on") from None
        values = without_head(
            values, path, format_name=FORMAT, version=VERSION, foreign="not the front of a search"
        )
        record: FrontRecord = cls.parse(values, str(path))
        return record

    @property
    def measure(self) -> str:
        """What the networks are ranked by, in words."""
        if any(each.expected_dice is not None for each in self.measured):
            return "Dice after a short training, by regression"
        if any(each.finetuned_dice is not None for each in self.measured):
            return "Dice after a short training"
        return "Dice with shared weights"

    def candidates(self, *, keep_latency: bool = True) -> list[Candidate]:
        """What was measured, with the score of each; the finalists alone if there are any.

        Args:
            keep_latency: leave out what exceeds the limit of latency.
        """
        kept = [each for each in self.measured if not keep_latency or self.keeps_latency(each)]
        finalists = [each for each in kept if each.finalist_dice is not None]
        return [
            Candidate(
                Genotype.from_dict(each.genotype),
                each.score if each.finalist_dice is None else each.finalist_dice,
                Cost(each.parameters, each.multiply_adds),
                each.latency_ms,
            )
            for each in finalists or kept
        ]

    def keeps_latency(self, measured: Measured) -> bool:
        """Whether a network keeps the record's limit of latency, if there is one."""
        return self.latency_ms is None or (measured.latency_ms or 0.0) <= self.latency_ms

    def front(self) -> list[Candidate]:
        """The networks that no other beats at the same or fewer multiply-adds, cheapest first."""
        return front(self.candidates())

    def effects(self, first: int) -> list[Effect]:
        """How the Dice of the first measured networks depends on their choices.

        Args:
            first: how many of them count; a search's random networks come first.

        Raises:
            UserError: if these are too few, more than were measured, or of several budgets.
        """
        if first < LEAST_NETWORKS:
            raise UserError(f"why: {first} networks are too few; give at least {LEAST_NETWORKS}")
        if first > len(self.measured):
            raise UserError(f"why: {first} networks are asked for, {len(self.measured)} are measured")
        taken = self.measured[:first]
        if len({each.budget_share for each in taken}) > 1:
            raise UserError(f"why: the first {first} networks are of several budgets; give a smaller number")
        return effects(
            [Genotype.from_dict(each.genotype) for each in taken], [each.measured_dice for each in taken]
        )

    def best(
        self,
        *,
        multiply_adds: float | None = None,
        parameters: float | None = None,
        latency_ms: float | None = None,
    ) -> Candidate:
        """The best network within limits.

        Raises :class:`UserError` that names the smallest cost if there is none.
        """
        self.check_latency()
        return best_within(
            self.candidates(), multiply_adds=multiply_adds, parameters=parameters, latency_ms=latency_ms
        )

    def check_latency(self) -> None:
        """Raises :class:`UserError`, with the least latency, if no network keeps its limit."""
        if self.latency_ms is not None and not self.candidates():
            fastest_ms = min(each.latency_ms or 0.0 for each in self.measured)
            raise UserError(
                f"none of the {len(self.measured)} measured networks needs at most {self.latency_ms:.3g} ms; the "
                f"fastest needs {fastest_ms:.3g} ms; raise latency_ms or num_measured"
            )
