"""What a schedule is fitted to, and the seconds that its parts take: predictions from a timing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..config.search import RunConfig
from ..dataset.folds import NUM_FOLDS
from .schedule import SEARCHED, UNET, Steps
from .timing import Timing

START_S = 8.0
"""Seconds of a search or a training before its first step and after its last: building, width,
page."""


@dataclass(frozen=True)
class Needs:
    """What a schedule is fitted to.

    Attributes:
        config: the search's data, plan, space and machine; its lengths are replaced.
        timing: of its width and patch.
        num_cases: training cases of the data set.
        spent_s: seconds that checking and planning took, or are predicted to take.
        with_unet: train the U-Net beside the found network.
    """

    config: RunConfig
    timing: Timing
    num_cases: int
    spent_s: float
    with_unet: bool = True

    @property
    def fold_cases(self) -> int:
        """Cases of a fold."""
        return math.ceil(self.num_cases / NUM_FOLDS)

    @property
    def seen_cases(self) -> int:
        """Cases outside the left-out fold."""
        return self.num_cases - self.fold_cases

    @property
    def steps_s(self) -> dict[str, float]:
        """Seconds of a training step of each network."""
        both = {SEARCHED: self.timing.searched_step_s, UNET: self.timing.unet_step_s}
        return both if self.with_unet else {SEARCHED: both[SEARCHED]}

    @property
    def search_start_s(self) -> float:
        """Seconds before the first step of a search, or of a training for the choice."""
        return START_S + self.seen_cases * self.timing.loaded_case_s

    def choice_s(self, proposals: int, choice: Steps) -> float:
        """Seconds of the choice among so many proposals; one needs no choice."""
        if proposals == 1:
            return 0.0
        training_s = choice.total * self.timing.searched_step_s
        return proposals * (self.search_start_s + training_s + self._scoring_s)

    @property
    def training_fixed_s(self) -> float:
        """Seconds of a final training besides its steps and the validations in between."""
        return START_S + self.num_cases * self.timing.loaded_case_s + self._scoring_s

    def train_parts(self, final: Steps, num_folds: int) -> dict[str, float]:
        """Seconds of the final trainings: steps with their validations, and scoring."""
        timing = self.timing
        scored_s = self.fold_cases * (timing.validated_case_s + timing.scored_case_s)
        validations = final.epochs // final.validate_every if num_folds > 1 else 1
        between_s = (validations - 1) * self.fold_cases * timing.validated_case_s
        num = num_folds * len(self.steps_s)
        steps_s = num_folds * sum(final.total * step_s for step_s in self.steps_s.values())
        return {
            "steps": steps_s + num * (self.training_fixed_s - scored_s + between_s),
            "scored": num * scored_s,
        }

    def evaluate_s(self, num_folds: int) -> float:
        """Seconds in which the ensembles of all networks segment the left-out fold."""
        timing = self.timing
        case_s = timing.loaded_case_s + num_folds * timing.validated_case_s + timing.scored_case_s
        return len(self.steps_s) * (START_S / 2 + self.fold_cases * case_s)

    @property
    def _scoring_s(self) -> float:
        """Seconds of a last validation and the scores, of all cases of a fold."""
        return self.fold_cases * (2 * self.timing.validated_case_s + self.timing.scored_case_s)
