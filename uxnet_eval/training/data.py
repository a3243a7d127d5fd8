"""The data of a training: patches of the learning cases, and the fold's cases, whole."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Subset

from ..config.training import TrainConfig
from ..dataset.msd import Case, Dataset
from ..preprocessing.patch_stream import PatchStream
from ..preprocessing.prepared_cases import PreparedCases, fits_memory
from ..preprocessing.whole_cases import whole_case_loader

MEMORY_SHARE = 0.4
"""Prepared cases are kept in memory if they take less than this share of what is free, else in the
cache folder."""


class TrainData(pl.LightningDataModule):
    """The loaders of a training.

    Args:
        dataset: the data set.
        config: the training's.
        learned: cases to learn from.
        held_out: the fold's cases.
        cache_dir: folder for prepared cases that do not fit into memory.
        rank: number of this process, and how many share the training.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: TrainConfig,
        learned: tuple[Case, ...],
        held_out: tuple[Case, ...],
        cache_dir: Path,
        rank: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self.rank, self.num_ranks = rank
        self.dataset, self.config = dataset, config
        self.learned, self.held_out, self.cache_dir = learned, held_out, cache_dir

    def setup(self, stage: str | None = None) -> None:
        """Reads and prepares the cases.

        Raises :class:`UserError`, which begins with the case id, if a file is faulty.
        """
        _ = self.patches, self.validation_cases

    def train_dataloader(self) -> PatchStream:
        """Augmented patches, ``steps_per_epoch`` batches per epoch, fixed by seed and epoch."""
        return self.patches

    def val_dataloader(self) -> DataLoader:
        """This process's share of the whole cases to validate on, spread evenly over the fold."""
        wanted = self.config.train.validation_cases or len(self.held_out)
        chosen = np.linspace(0, len(self.held_out) - 1, min(wanted, len(self.held_out))).round().astype(int)
        own = chosen.tolist()[self.rank :: self.num_ranks]
        return whole_case_loader(Subset(self.validation_cases, own))  # type: ignore[arg-type]

    @cached_property
    def patches(self) -> PatchStream:
        train = self.config.train
        return PatchStream(
            self._prepared(self.learned).with_foreground(),
            self.config.plan,
            steps_per_epoch=train.steps_per_epoch,
            seed=train.seed,
            num_workers=self.config.runtime.num_workers,
            rank=self.rank,
            num_ranks=self.num_ranks,
        )

    @cached_property
    def validation_cases(self) -> PreparedCases:
        """All cases of the fold, in the order of their ids."""
        return self._prepared(self.held_out)

    @cached_property
    def _in_memory(self) -> bool:
        return fits_memory(self.dataset, self.config.plan, MEMORY_SHARE / self.num_ranks)

    def _prepared(self, cases: tuple[Case, ...]) -> PreparedCases:
        return PreparedCases(
            cases,
            self.dataset,
            self.config.plan,
            cache_dir=None if self._in_memory else self.cache_dir,
            num_threads=max(1, self.config.runtime.num_workers),
        )
