"""The data of a search: cases split in three, patches to learn from, whole cases to validate on.

Legend: B batch, C channels, *P the plan's patch size, *S a whole case.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from search_space.errors import UserError

from ..config.plan import Plan
from ..config.search import RunConfig
from ..dataset.cases import Case, Dataset, Fold
from ..dataset.check import too_few_cases
from ..dataset.folds import NUM_FOLDS, SPLIT_SEED, shuffled_patients, split_fold
from ..preprocessing.patch_stream import PatchStream
from ..preprocessing.prepared_cases import PreparedCases, fits_memory, too_large
from ..preprocessing.whole_cases import whole_case_loader

MAX_VALIDATION_SHARE = 1 / 3
"""At most this share of the cases is held out, so that small sets leave enough to learn from."""


@dataclass(frozen=True)
class Split:
    """Three disjoint groups of cases: for validation, architecture steps, and weight steps."""

    validation: tuple[Case, ...]
    architecture: tuple[Case, ...]
    weights: tuple[Case, ...]


def split_for(config: RunConfig, dataset: Dataset) -> tuple[Dataset, Split]:
    """The cases that a search may see, and its split of them.

    With ``left_out_fold`` (the outer fold), the search sees what a training of that fold learns
    from. With ``validation_fold`` (the inner one), it learns from what a training of that fold
    learns from, and validates on what that validates on.

    Raises:
        UserError: if there are too few cases, or no such fold.
    """
    settings = config.search

    def fold(number: int) -> Fold:
        if not dataset.fixed_folds and dataset.num_patients < NUM_FOLDS:
            raise UserError(
                f"{dataset.folder}: found cases of {dataset.num_patients} patients, too few for {NUM_FOLDS} folds; "
                "leave left_out_fold and validation_fold out, or add cases"
            )
        learned, held_out = split_fold(dataset, fold=number, num_folds=NUM_FOLDS, seed=SPLIT_SEED)
        return Fold(tuple(case.case_id for case in learned), tuple(case.case_id for case in held_out))

    seen = {case.case_id for case in dataset.cases}
    inner = None
    if settings.left_out_fold is not None:
        seen &= set(fold(settings.left_out_fold).learned)
    if settings.validation_fold is not None:
        learned, held_out = fold(settings.validation_fold)
        inner = seen & set(held_out)
        seen &= {*learned, *held_out}
        if not inner:
            raise UserError(
                f"{dataset.folder}: the validation cases of fold {settings.validation_fold} are all left out with fold "
                f"{settings.left_out_fold}; give another validation_fold"
            )
    dataset = replace(dataset, cases=tuple(case for case in dataset.cases if case.case_id in seen))
    seed = settings.seed if settings.split_seed is None else settings.split_seed
    return dataset, split_cases(dataset, seed, settings.validation_cases, validation=inner)


def split_cases(
    dataset: Dataset, seed: int, num_validation: int, validation: Collection[str] | None = None
) -> Split:
    """A random split of the training cases; all cases of a patient are in one group.

    It depends on the seed, the case ids and their patients, not on their order.

    Args:
        dataset: the data set.
        seed: of the draw.
        num_validation: cases to hold out; at most a third of all, at least one, and as many more as
            the last patient has. The rest is halved; if one case is left over, it goes to the
            weights.
        validation: ids of the cases to hold out; None: drawn at random.

    Raises:
        UserError: if there are fewer than three cases, or cases of three patients.
    """
    fault = too_few_cases(dataset)
    if fault:
        raise UserError(str(fault))
    by_id = {case.case_id: case for case in dataset.cases}
    shuffled = shuffled_patients(list(by_id), seed, dataset.patients)
    if validation is None:
        num_held_out = max(1, min(num_validation, int(len(by_id) * MAX_VALIDATION_SHARE)))
        held_out: list[str] = []
        while len(held_out) < num_held_out:
            held_out += shuffled.pop(0)
        rest = shuffled
    else:
        held_out = sorted(validation)
        rest = [[case_id for case_id in ids if case_id not in validation] for ids in shuffled]
        rest = [ids for ids in rest if ids]
    if len(rest) < 2:
        raise UserError(
            f"{dataset.name}: the cases to learn from are of {len(rest)} patients, expected at least 2, one for each "
            "half of the search; hold fewer cases out"
        )
    half = sum(map(len, rest)) // 2
    architecture = list(rest.pop(0))
    while len(rest) > 1 and len(architecture) + len(rest[0]) <= half:
        architecture += rest.pop(0)
    groups = (held_out, architecture, [case_id for ids in rest for case_id in ids])
    return Split(*(tuple(by_id[case_id] for case_id in group) for group in groups))


class SearchData(pl.LightningDataModule):
    """The loaders of a search.

    :meth:`weights_dataloader` and :meth:`architecture_dataloader` give exactly ``steps_per_epoch``
    batches per epoch: ``image`` (B, C, *P) float32 and ``label`` (B, 1, *P) int64.
    :meth:`val_dataloader` gives whole cases (see :func:`whole_case_loader`). ``train_dataloader``
    is the weights' loader. Both streams are made once, so :meth:`set_epoch` reaches the loaders
    that were handed out.
    """

    def __init__(
        self,
        dataset: Dataset,
        plan: Plan,
        split: Split,
        *,
        steps_per_epoch: int,
        num_workers: int,
        seed: int,
        cache: bool = True,
        cache_dir: str | os.PathLike[str] | None = None,
        memory_share: float = 0.4,
        rank: tuple[int, int] = (0, 1),
    ):
        """Reads nothing yet; cases are read in :meth:`setup`, or when first needed.

        Args:
            dataset: the data set.
            plan: its plan.
            split: its cases, see :func:`split_cases`.
            steps_per_epoch: batches per epoch of each stream.
            num_workers: background threads of each stream; 0 prepares batches in the training
                thread.
            seed: of case order and augmentation.
            cache: keep prepared cases.
            cache_dir: folder for prepared cases if they take more than ``memory_share`` of the free
                memory.
            memory_share: from 0 (always the folder) to 1.
            rank: number of this process, and how many share the search.
        """
        super().__init__()
        self.dataset, self.plan, self.split = dataset, plan, split
        self.steps_per_epoch, self.num_workers, self.seed = steps_per_epoch, num_workers, seed
        self.rank, self.num_ranks = rank
        self.cache, self.cache_dir, self.memory_share = cache, cache_dir, memory_share / self.num_ranks

    def setup(self, stage: str | None = None) -> None:
        """Reads and prepares the cases; called by Lightning.

        Raises:
            UserError: begins with the case id, if a file is at fault; or if the cases fit neither
                memory nor have a cache folder.
        """
        _ = self._weights, self._architecture, self._validation

    def set_epoch(self, epoch: int) -> None:
        """Both streams go on with this epoch (from 0); for a run that is resumed."""
        self._weights.set_epoch(epoch)
        self._architecture.set_epoch(epoch)

    def weights_dataloader(self) -> PatchStream:
        """Patches of the cases that the network's weights learn from."""
        return self._weights

    def architecture_dataloader(self) -> PatchStream:
        """Patches of the cases that alpha and beta learn from."""
        return self._architecture

    def train_dataloader(self) -> PatchStream:
        """:meth:`weights_dataloader`."""
        return self._weights

    def val_dataloader(self) -> DataLoader:
        """This process's share of the held-out cases, whole, one at a time."""
        return self._validation

    @cached_property
    def _weights(self) -> PatchStream:
        return self._stream(self._weight_cases, stream=0)

    @cached_property
    def _weight_cases(self) -> PreparedCases:
        """Prepared once, for all streams of the weights' cases."""
        return self._prepared(self.split.weights).with_foreground()

    @cached_property
    def _architecture(self) -> PatchStream:
        return self._stream(self._prepared(self.split.architecture), stream=1)

    @cached_property
    def _validation(self) -> DataLoader:
        return whole_case_loader(self._prepared(self.split.validation[self.rank :: self.num_ranks]))

    @cached_property
    def _folder(self) -> str | os.PathLike[str] | None:
        """Where prepared cases are kept; None: in memory."""
        if not self.cache or fits_memory(self.dataset, self.plan, self.memory_share):
            return None
        if self.cache_dir is None:
            raise too_large(self.dataset, self.memory_share)
        return self.cache_dir

    def _prepared(self, cases: tuple[Case, ...]) -> PreparedCases:
        return PreparedCases(
            cases,
            self.dataset,
            self.plan,
            cache=self.cache,
            cache_dir=self._folder,
            num_threads=max(1, self.num_workers),
        )

    def patches(self, num_steps: int, stream: int) -> PatchStream:
        """Another stream of ``num_steps`` batches of the weights' cases, fixed by ``stream``."""
        return self._stream(self._weight_cases, stream, num_steps)

    def _stream(self, cases: PreparedCases, stream: int, num_steps: int | None = None) -> PatchStream:
        return PatchStream(
            cases,
            self.plan,
            steps_per_epoch=self.steps_per_epoch if num_steps is None else num_steps,
            seed=(self.seed, stream),
            num_workers=self.num_workers,
            rank=self.rank,
            num_ranks=self.num_ranks,
        )
