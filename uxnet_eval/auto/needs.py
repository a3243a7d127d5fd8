"""What a schedule is fitted to, and the seconds that its parts take: predictions from a timing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..config.search import RunConfig
from ..dataset.cases import Dataset
from ..dataset.folds import NUM_FOLDS, SPLIT_SEED, folds_of, split_fold
from .schedule import SEARCHED, UNET, Steps
from .timing import Timing

START_S = 8.0
"""Seconds of a search or a training before its first step and after its last: building, width,
page."""


NNI_START_S, NNI_TRIAL_S = 15.0, 10.0
"""Seconds that NNI takes to start an experiment and to end it, and for each trial, which imports
all anew."""


@dataclass(frozen=True)
class Needs:
    """What a schedule is fitted to.

    Attributes:
        config: the search's data, plan, space and machine; its lengths are replaced.
        timing: of its width and patch.
        num_cases: training cases of the data set.
        spent_s: seconds that checking and planning took, or are predicted to take.
        with_unet: train the U-Net beside the found network.
        through_nni: several trainings are trials of NNI, one after the other.
        outer_fold: the fold that is left out until the end.
        num_folds: of the data set; 1 if the other folds have nothing to learn from or to validate
            on without the left-out one.
        left_out: cases of the left-out fold; None: a share of ``num_cases``.
        seen: cases that are learned from without it; None: all others.
    """

    config: RunConfig
    timing: Timing
    num_cases: int
    spent_s: float
    with_unet: bool = True
    through_nni: bool = False
    outer_fold: int = 0
    num_folds: int = NUM_FOLDS
    left_out: int | None = None
    seen: int | None = None

    @property
    def fold_cases(self) -> int:
        """Cases of a fold."""
        return math.ceil(self.num_cases / self.num_folds) if self.left_out is None else self.left_out

    @property
    def seen_cases(self) -> int:
        """Cases that search and choice may see."""
        return self.num_cases - self.fold_cases if self.seen is None else self.seen

    @property
    def steps_s(self) -> dict[str, float]:
        """Seconds of a training step of each network."""
        both = {SEARCHED: self.timing.searched_step_s, UNET: self.timing.unet_step_s}
        return both if self.with_unet else {SEARCHED: both[SEARCHED]}

    @property
    def search_start_s(self) -> float:
        """Seconds before the first step of a search, or of a training for the choice."""
        return START_S + self.seen_cases * self.timing.loaded_case_s

    def choice_s(self, proposals: int, choice: Steps | None) -> float:
        """Seconds of the choice among so many proposals, and the U-Net if it is trained too."""
        if choice is None:
            return 0.0
        number = proposals + self.with_unet
        steps_s = proposals * self.timing.searched_step_s + self.with_unet * self.timing.unet_step_s
        fixed_s = number * (self.search_start_s + self._scoring_s)
        return self.around_s(number) + fixed_s + choice.total * steps_s

    def around_s(self, trainings: int) -> float:
        """Seconds that NNI takes around the trainings of a stage; none for one, or without NNI."""
        return NNI_START_S + trainings * NNI_TRIAL_S if self.through_nni and trainings > 1 else 0.0

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
            "steps": steps_s + self.around_s(num) + num * (self.training_fixed_s - scored_s + between_s),
            "scored": num * scored_s,
        }

    def evaluate_s(self, num_folds: int) -> float:
        """Seconds in which all ensembles segment the left-out fold, and pairs their own folds."""
        seconds = len(self.steps_s) * self._ensemble_s(num_folds)
        if self.with_unet and num_folds > 1:  # both networks together
            seconds += self._ensemble_s(2 * num_folds) + num_folds * self._ensemble_s(2)
        return seconds

    def _ensemble_s(self, members: int) -> float:
        """Seconds in which an ensemble of so many members segments a fold."""
        timing = self.timing
        case_s = timing.loaded_case_s + members * timing.validated_case_s + timing.scored_case_s
        return START_S / 2 + self.fold_cases * case_s

    def of_folds(self, dataset: Dataset) -> Needs:
        """These needs with the folds of the data set, which may name its own."""
        folds = folds_of(dataset, NUM_FOLDS, SPLIT_SEED)
        outer = folds[self.outer_fold]
        others = (
            split_fold(dataset, fold=k, num_folds=NUM_FOLDS, seed=SPLIT_SEED, left_out=self.outer_fold)
            for k in range(len(folds))
            if k != self.outer_fold
        )
        are_usable = all(learned and held_out for learned, held_out in others)
        return replace(
            self,
            num_folds=len(folds) if are_usable else 1,
            left_out=len(outer.held_out),
            seen=len(outer.learned),
        )

    @property
    def _scoring_s(self) -> float:
        """Seconds of a last validation and the scores, of all cases of a fold."""
        return self.fold_cases * (2 * self.timing.validated_case_s + self.timing.scored_case_s)
