"""Preprocessed cases, kept in memory or in a cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import CacheDataset
from monai.data import Dataset as TransformedDataset
from monai.transforms import Compose
from typing_extensions import Self

from search_space.errors import UserError

from ..config.plan import Plan
from ..dataset.msd import Case, Dataset
from ..runs.archive import check_archive
from ..runs.files import replacing
from ..runs.memory import available_bytes
from .augmentation import ForegroundVoxels, PlainTensors
from .case_grid import CaseGrid
from .transforms import plain_errors, preprocessing

logger = logging.getLogger(__name__)

CACHE_VERSION = 1
"""To be raised when preprocessing changes, so that no old cache is read."""

NUM_SAMPLED_CASES = 3
"""Cases prepared to estimate the size of the whole set."""


class PreparedCases(torch.utils.data.Dataset):
    """The deterministic part of the pipeline for a list of cases.

    Item i is a dict: ``image`` (C, *S) float32, ``label`` (1, *S) integer class indices,
    ``foreground`` (see :class:`~uxnet_eval.preprocessing.augmentation.ForegroundVoxels`),
    ``case_id`` and ``grid``. Items are shared, not copied: do not change them in place.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        dataset: Dataset,
        plan: Plan,
        *,
        cache: bool = True,
        cache_dir: str | os.PathLike[str] | None = None,
        num_threads: int = 1,
    ):
        """Prepares all cases at once if they are to be kept in memory.

        Args:
            cases: training cases of ``dataset``.
            dataset: the data set.
            plan: spacing and normalisation.
            cache: False prepares a case anew each time it is asked for.
            cache_dir: a folder to keep prepared cases in instead of memory; may be shared between
                runs.
            num_threads: that fill the memory.

        Raises:
            UserError: begins with the case id, if a file is at fault.
        """
        self.cases, self.name = tuple(cases), dataset.name
        steps = Compose(
            [
                *preprocessing(
                    plan, dataset
                ).transforms,  # MONAI takes a Compose within for random: not cached
                ForegroundVoxels(dataset.num_classes),
                PlainTensors(("image", "label")),
            ]
        )
        self._items: Any
        with plain_errors():
            if not cache:
                self._items = TransformedDataset(self.cases, steps)
            elif cache_dir is None:
                self._items = CacheDataset(
                    self.cases,
                    steps,
                    num_workers=num_threads,
                    progress=False,
                    copy_cache=False,
                    as_contiguous=False,
                )
            else:
                self._items = _FolderCache(self.cases, steps, Path(cache_dir), _preprocessing_key(plan))

    def __len__(self) -> int:
        return len(self.cases)

    def with_foreground(self) -> Self:
        """The same cases; raises :class:`UserError` if none of them has any foreground."""
        if not any(
            len(voxels) for item in map(self.__getitem__, range(len(self))) for voxels in item["foreground"]
        ):
            raise UserError(
                f"{self.name}: found no foreground in any of the {len(self)} cases to learn from, expected some; "
                "mend the labels, or choose another fold"
            )
        return self

    def __getitem__(self, index: int) -> dict[str, Any]:
        with plain_errors():
            return self._items[index]


class _FolderCache(torch.utils.data.Dataset):
    """One file for each prepared case.

    Not MONAI's PersistentDataset, which moves its files in from another file system, so that a kill
    can leave half a file, and does not notice when an image changes.
    """

    def __init__(self, cases: Sequence[Case], steps: Compose, folder: Path, preprocessing_key: str):
        self.cases, self.steps, self.folder, self.key = cases, steps, folder, preprocessing_key
        folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        case = self.cases[index]
        path = self.folder / f"{case.case_id}-{self._hash(case)}.pt"
        if path.is_file() and self._is_sound(path):
            item = torch.load(path, weights_only=True, mmap=True)  # a patch reads only its own pages
            return {**item, "grid": CaseGrid(*item["grid"])}
        item = self.steps(case)
        with replacing(path) as part, part.open("wb") as stream:
            torch.save({**item, "grid": tuple(item["grid"])}, stream)
        return item

    def _is_sound(self, path: Path) -> bool:
        """Whether the checksums in the file are right, which each process verifies once."""
        try:
            check_archive(path)
        except (OSError, ValueError) as error:
            logger.warning("%s: %s; the case is prepared anew", path, error)
            return False
        return True

    def _hash(self, case: Case) -> str:
        files = [path for path in (*case.images, case.label) if path is not None and path.is_file()]
        state = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return hashlib.sha256(json.dumps([state, self.key]).encode()).hexdigest()[:16]


def fits_memory(dataset: Dataset, plan: Plan, memory_share: float) -> bool:
    """Whether all prepared training cases take less than this share of the free memory.

    Prepares a few cases evenly spread over the list and takes the largest for all.

    Raises:
        UserError: begins with the case id, if a file is at fault.
    """
    step = max(1, len(dataset.cases) // NUM_SAMPLED_CASES)
    sample = PreparedCases(dataset.cases[::step][:NUM_SAMPLED_CASES], dataset, plan, cache=False)
    largest_bytes = max(_bytes(sample[i]) for i in range(len(sample)))
    return largest_bytes * len(dataset.cases) <= memory_share * available_bytes()


def too_large(dataset: Dataset, memory_share: float) -> UserError:
    """The error of a set that fits neither memory nor has a cache folder."""
    return UserError(
        f"{dataset.name}: {len(dataset.cases)} prepared cases exceed {memory_share:.0%} of the free memory "
        f"({available_bytes() / 2**30:.1f} GiB); give a cache folder, or switch caching off"
    )


def _bytes(item: dict[str, Any]) -> int:
    tensors = [item["image"], item["label"], *item["foreground"]]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _preprocessing_key(plan: Plan) -> str:
    """What of the plan decides about prepared cases, as text."""
    return json.dumps([CACHE_VERSION, plan.spacing_mm, plan.normalization, plan.intensity])
