"""The cases that plan, search and choice may see: those that the left-out fold learns from."""

from __future__ import annotations

from dataclasses import replace

from search_space.errors import UserError

from ..dataset.cases import Dataset
from ..dataset.folds import NUM_FOLDS, SPLIT_SEED, folds_of, split_fold
from ..dataset.splits import SPLITS_NAME

MIN_SEEN = 3
"""Fewest cases, and patients, to search with: some to score by, two halves to learn from."""


def seen_without(dataset: Dataset, left_out_fold: int) -> Dataset:
    """The data set without the cases that only the left-out fold may see.

    Raises:
        UserError: if there are too few cases, or no such fold.
    """
    number, patients = len(dataset.cases), dataset.num_patients
    if min(number, number if dataset.fixed_folds else patients) < NUM_FOLDS:
        of = f" of {patients} patients" if patients < number else ""
        raise UserError(
            f"{dataset.folder}: found {number} training cases{of}, uxnet auto needs at least {NUM_FOLDS}"
            f"{' patients' if of else ''} (one fold of five to score, one to choose, the others to learn from); add "
            "cases, or use uxnet plan and search"
        )
    last = len(folds_of(dataset, NUM_FOLDS, SPLIT_SEED)) - 1
    if not 0 <= left_out_fold <= last:
        raise UserError(f"--left-out-fold {left_out_fold}: expected 0 to {last}, a fold of {dataset.folder}")
    cases, _ = split_fold(dataset, fold=left_out_fold, num_folds=NUM_FOLDS, seed=SPLIT_SEED)
    seen = replace(dataset, cases=cases)
    if min(len(cases), seen.num_patients) < MIN_SEEN:
        raise UserError(
            f"{dataset.folder}: fold {left_out_fold} leaves {len(cases)} cases of {seen.num_patients} patients to learn "
            f"from, uxnet auto needs at least {MIN_SEEN} of each; add cases to its train in {SPLITS_NAME}"
        )
    return seen
