"""The data of a search: cases split in three, patches to learn from, whole cases to validate on.

Legend: B batch, C channels, *P the plan's patch size, *S a whole case.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from search_space.errors import UserError

from ..config.plan import Plan
from ..config.search import RunConfig
from ..dataset.check import too_few_cases
from ..dataset.folds import NUM_FOLDS, SPLIT_SEED, split_fold
from ..dataset.msd import Case, Dataset
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

    ``left_out_fold`` (the outer fold) leaves the data set; ``validation_fold`` (the inner one) is
    validated on.

    Raises:
        UserError: if there are too few cases.
    """
    settings = config.search

    def fold(number: int) -> set[str]:
        _, held_out = split_fold(dataset, fold=number, num_folds=NUM_FOLDS, seed=SPLIT_SEED)
        return {case.case_id for case in held_out}

    inner = None if settings.validation_fold is None else fold(settings.validation_fold)
    left_out = set() if settings.left_out_fold is None else fold(settings.left_out_fold)
    seen = tuple(case for case in dataset.cases if case.case_id not in left_out)
    seed = settings.seed if settings.split_seed is None else settings.split_seed
    dataset = replace(dataset, cases=seen)
    return dataset, split_cases(dataset, seed, settings.validation_cases, validation=inner)


def split_cases(
    dataset: Dataset, seed: int, num_validation: int, validation: Collection[str] | None = None
) -> Split:
    """A random split of the training cases.

    It depends on the seed and the case ids, not on their order.

    Args:
        dataset: the data set.
        seed: of the draw.
        num_validation: cases to hold out; at most a third of all, at least one. The rest is halved;
            if one case is left over, it goes to the weights.
        validation: ids of the cases to hold out; None: drawn at random.

    Raises:
        UserError: if there are fewer than three cases.
    """
    fault = too_few_cases(dataset)
    if fault:
        raise UserError(str(fault))
    by_id = sorted(dataset.cases, key=lambda case: case.case_id)
    shuffled = [by_id[i] for i in np.random.default_rng(seed).permutation(len(by_id))]
    if validation is None:
        num_held_out = max(1, min(num_validation, int(len(shuffled) * MAX_VALIDATION_SHARE)))
        held_out, rest = shuffled[:num_held_out], shuffled[num_held_out:]
    else:
        held_out = [case for case in by_id if case.case_id in validation]
        rest = [case for case in shuffled if case.case_id not in validation]
    half = len(rest) // 2
    return Split(tuple(held_out), tuple(rest[:half]), tuple(rest[half:]))


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
        """
        super().__init__()
        self.dataset, self.plan, self.split = dataset, plan, split
        self.steps_per_epoch, self.num_workers, self.seed = steps_per_epoch, num_workers, seed
        self.cache, self.cache_dir, self.memory_share = cache, cache_dir, memory_share

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
        """The held-out cases, whole, one at a time."""
        return self._validation

    @cached_property
    def _weights(self) -> PatchStream:
        return self._stream(self._weight_cases, stream=0)

    @cached_property
    def _weight_cases(self) -> PreparedCases:
        """Prepared once, for all streams of the weights' cases."""
        return self._prepared(self.split.weights)

    @cached_property
    def _architecture(self) -> PatchStream:
        return self._stream(self._prepared(self.split.architecture), stream=1)

    @cached_property
    def _validation(self) -> DataLoader:
        return whole_case_loader(self._prepared(self.split.validation))

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
        trainer = self.trainer
        return PatchStream(
            cases,
            self.plan,
            steps_per_epoch=self.steps_per_epoch if num_steps is None else num_steps,
            seed=(self.seed, stream),
            num_workers=self.num_workers,
            rank=trainer.global_rank if trainer else 0,
            num_ranks=trainer.world_size if trainer else 1,
        )
