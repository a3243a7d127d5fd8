"""One line of progress for all stages: stage, share of the whole, time left."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ..recipe.progress import telling
from .record import AutoRecord
from .schedule import STAGES

logger = logging.getLogger(__name__)

SAVED_EVERY_S, LOGGED_EVERY_S = 5.0, 60.0
"""How often the time spent is kept, and how often a log gets a line."""
ENOUGH_SHARE = 0.05
"""From this share of a stage on, its own pace tells how long it will take."""
UNPLANNED = {"check": 0.5, "plan": 1.0}
"""Minutes that count for stages without a prediction."""


def share_of(parts: Mapping[str, float], part: str, share: float) -> float:
    """How much of a run is done, 0 to 1, when it is within a part; those before it are done.

    Args:
        parts: predicted times of the parts in their order, in any unit.
        part: one of them.
        share: how much of it is done, 0 to 1.
    """
    before = sum(parts[name] for name in list(parts)[: list(parts).index(part)])
    return (before + share * parts[part]) / (sum(parts.values()) or 1.0)


class OverallProgress:
    """Shows a bar on a terminal's stderr, and a line a minute in the log.

    It keeps the time spent in the record too, so that a kill loses a few seconds.

    Args:
        record: of the run.
        folder: the output folder.
    """

    def __init__(self, record: AutoRecord, folder: Path) -> None:
        self._record, self._folder = record, folder
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1.0, left="")
        self._stage, self._share = STAGES[0], 0.0
        self._before_s, self._started = 0.0, time.monotonic()
        self._saved = self._logged = time.monotonic()

    def __enter__(self) -> OverallProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, line: str) -> None:
        """Prints a line as it is, on the terminal alone: it may hold what no log should."""
        self._bar.console.print(line, soft_wrap=True, markup=False, highlight=False)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Within it, ``name`` is the stage that runs; its time counts however it ends."""
        self._stage, self._before_s = name, self._record.stages[name].spent_s
        self._started, self._share = time.monotonic(), 0.0
        logger.info("stage %s (%d of %d)", name, STAGES.index(name) + 1, len(STAGES))
        self._show()
        try:
            yield
        finally:
            self.keep()

    def advance(self, share: float) -> None:
        """Tells how much of the stage is done, 0 to 1."""
        self._share, now = min(1.0, share), time.monotonic()
        self._show()
        if now - self._saved > SAVED_EVERY_S:
            self.keep()
            self._saved = now
        if now - self._logged > LOGGED_EVERY_S:
            logger.info("%s: %.0f %% of all, %s", self._name, 100 * self.share, self._left)
            self._logged = now

    @contextlib.contextmanager
    def run(self, parts: Mapping[str, float], first: float = 0.0, last: float = 1.0) -> Iterator[None]:
        """Within it, one search or training runs.

        Args:
            parts: predicted times of its parts in their order, in any unit.
            first: share of the stage at its start.
            last: share of the stage at its end.
        """

        def tell(part: str, share: float) -> None:
            if part in parts:
                self.advance(first + (last - first) * share_of(parts, part, share))

        with telling(tell):
            yield
        self.advance(last)

    @property
    def share(self) -> float:
        """How much of all stages is done, 0 to 1, by predicted time."""
        predicted = self._predicted()
        before = sum(predicted[name] for name in STAGES[: STAGES.index(self._stage)])
        return (before + self._share * predicted[self._stage]) / sum(predicted.values())

    @property
    def left_s(self) -> float:
        """Seconds left, by the pace of this stage and the predictions of the later ones."""
        predicted = self._predicted()
        after = sum(predicted[name] for name in STAGES[STAGES.index(self._stage) + 1 :])
        own = 60 * predicted[self._stage]
        if self._share > ENOUGH_SHARE:
            own = (self._before_s + time.monotonic() - self._started) / self._share
        return own * (1 - self._share) + 60 * after

    @property
    def _name(self) -> str:
        return f"{self._stage} ({STAGES.index(self._stage) + 1} of {len(STAGES)})"

    @property
    def _left(self) -> str:
        if self._record.schedule is None:
            return f"of {self._record.hours:g} hours"
        hours, minutes = divmod(max(1, round(self.left_s / 60)), 60)
        return f"about {f'{hours} h ' if hours else ''}{minutes} min left"

    def _predicted(self) -> dict[str, float]:
        """Minutes of each stage; a guess from the hours until there is a schedule."""
        schedule = self._record.fitted or self._record.schedule
        if schedule is None:
            return {name: 60 * self._record.hours / len(STAGES) for name in STAGES} | UNPLANNED
        return {name: max(0.01, value) for name, value in schedule.minutes.items()}

    def _show(self) -> None:
        self._bar.update(self._task, description=self._name, completed=self.share, left=self._left)

    def keep(self) -> None:
        """Saves the time spent so far."""
        self._record.stages[self._stage].spent_s = self._before_s + time.monotonic() - self._started
        self._record.save(self._folder)
