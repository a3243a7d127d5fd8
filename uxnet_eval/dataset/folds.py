"""Folds of cases for training and validation, stored so that other programs can use them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from search_space.errors import UserError
from search_space.reading import read_json

from ..runs.files import write_json
from ..runs.names import FOLDS_NAME
from .msd import Case, Dataset

NUM_FOLDS, SPLIT_SEED = 5, 0
"""The folds that trainings share unless told otherwise."""


def make_folds(case_ids: Sequence[str], num_folds: int, seed: int) -> list[list[str]]:
    """The cases in ``num_folds`` disjoint parts whose sizes differ by one at most, each sorted.

    The same for the same seed and ids, whatever their order.
    """
    in_order = sorted(case_ids)
    shuffled = [in_order[i] for i in np.random.default_rng(seed).permutation(len(in_order))]
    return [sorted(shuffled[fold::num_folds]) for fold in range(num_folds)]


def split_fold(
    dataset: Dataset, *, fold: int, num_folds: int, seed: int
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The training cases and the validation cases of a fold, each ordered by id.

    Raises:
        UserError: if there are fewer cases than folds.
    """
    if len(dataset.cases) < num_folds:
        raise UserError(
            f"{dataset.folder}: found {len(dataset.cases)} training cases for {num_folds} folds; set num_folds to "
            f"{len(dataset.cases)} or less, and at least 2"
        )
    held_out = set(make_folds([case.case_id for case in dataset.cases], num_folds, seed)[fold])
    by_id = sorted(dataset.cases, key=lambda case: case.case_id)
    return (
        tuple(case for case in by_id if case.case_id not in held_out),
        tuple(case for case in by_id if case.case_id in held_out),
    )


def store_folds(folder: Path, dataset: Dataset, *, fold: int, num_folds: int, seed: int) -> None:
    """Writes ``folds.json``: the cases of every fold, and which one is validated on.

    Raises:
        UserError: if the folder holds another split, because the data set has changed since.
    """
    folds = make_folds([case.case_id for case in dataset.cases], num_folds, seed)
    values = {"fold": fold, "num_folds": num_folds, "split_seed": seed, "folds": folds}
    path = folder / FOLDS_NAME
    if path.exists():
        try:
            before = read_json(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: damaged ({error}); delete it, and it is made again from the same settings"
            ) from None
        if before != values:
            raise UserError(
                f"{path}: the run began with other cases than {dataset.folder} lists now; restore the data set, or give "
                "another output folder"
            )
        return
    write_json(path, values, indent=2)
