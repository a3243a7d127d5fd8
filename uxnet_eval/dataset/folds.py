"""Folds of cases for training and validation, stored so that other programs can use them.

They are those of ``splits_final.json`` where a data set has it, else drawn at random. All cases of
a patient are in one fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search_space.errors import UserError
from search_space.reading import read_json

from ..runs.files import write_json
from ..runs.names import FOLDS_NAME
from .cases import Case, Dataset, Fold, Patients
from .splits import SPLITS_NAME

NUM_FOLDS, SPLIT_SEED = 5, 0
"""The folds that trainings share unless told otherwise."""


def shuffled_patients(
    case_ids: Sequence[str], seed: int, patients: Patients | None = None
) -> list[list[str]]:
    """The cases of each patient, ascending; the patients in random order.

    The same for the same seed, ids and patients, whatever the order of the ids.

    Args:
        case_ids: all cases.
        seed: of the order.
        patients: whose cases they are; None: every case counts alone.
    """
    of_patient: dict[str, list[str]] = {}
    for case_id in sorted(case_ids):
        of_patient.setdefault((patients or Patients()).of(case_id), []).append(case_id)
    in_order = sorted(of_patient)
    return [of_patient[in_order[i]] for i in np.random.default_rng(seed).permutation(len(in_order))]


def make_folds(
    case_ids: Sequence[str], num_folds: int, seed: int, patients: Patients | None = None
) -> list[list[str]]:
    """The cases in ``num_folds`` disjoint parts, each sorted; a patient's cases are in one part.

    The same for the same seed, ids and patients, whatever the order of the ids. Patients of many
    cases are dealt first, each to the part that has fewest cases so far. If every case counts
    alone, the sizes differ by one at most.
    """
    folds: list[list[str]] = [[] for _ in range(num_folds)]
    for cases in sorted(shuffled_patients(case_ids, seed, patients), key=len, reverse=True):
        min(folds, key=len).extend(cases)
    return [sorted(fold) for fold in folds]


def folds_of(dataset: Dataset, num_folds: int, seed: int) -> tuple[Fold, ...]:
    """The folds of a data set: those of ``splits_final.json``, or ``num_folds`` random ones.

    Raises:
        UserError: there are fewer cases or patients than folds; or ``num_folds`` was set, and the
            file has another number.
    """
    if dataset.fixed_folds:
        if num_folds not in (NUM_FOLDS, len(dataset.fixed_folds)):
            raise UserError(
                f"{dataset.folder / SPLITS_NAME}: has {len(dataset.fixed_folds)} folds, and num_folds is {num_folds}; "
                "leave num_folds out, or take the file away"
            )
        return dataset.fixed_folds
    ids = sorted(case.case_id for case in dataset.cases)
    if dataset.num_patients < num_folds:
        found, largest = f"{len(ids)} training cases", dataset.num_patients
        if largest < len(ids):
            found += f" of {largest} patients"
        raise UserError(
            f"{dataset.folder}: found {found} for {num_folds} folds; set num_folds to {largest} or less, and at least 2"
        )
    parts = [set(part) for part in make_folds(ids, num_folds, seed, dataset.patients)]
    return tuple(
        Fold(tuple(i for i in ids if i not in part), tuple(i for i in ids if i in part)) for part in parts
    )


def split_fold(
    dataset: Dataset, *, fold: int, num_folds: int, seed: int, left_out: int | None = None
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The training cases and the validation cases of a fold, each ordered by id.

    Args:
        dataset: the data set.
        fold: its number.
        num_folds: if the data set names no folds.
        seed: of random folds.
        left_out: another fold, which scores a result later: only the cases that it learns from are
            in either part, so no case and no patient that it validates on. Folds of
            ``splits_final.json`` may overlap.

    Raises:
        UserError: see :func:`folds_of`; or there is no such fold.
    """
    folds = folds_of(dataset, num_folds, seed)
    seen = {case.case_id: case for case in dataset.cases}
    for number in (fold, left_out):
        if number is not None and number >= len(folds):
            where = SPLITS_NAME if dataset.fixed_folds else "the data set"
            raise UserError(
                f"{dataset.folder}: there is no fold {number}; {where} has {len(folds)}, expected 0 to {len(folds) - 1}"
            )
    if left_out is not None:
        seen = {case_id: seen[case_id] for case_id in folds[left_out].learned if case_id in seen}
    learned, held_out = (tuple(seen[i] for i in part if i in seen) for part in folds[fold])
    return learned, held_out


def store_folds(folder: Path, dataset: Dataset, *, fold: int, num_folds: int, seed: int) -> None:
    """Writes ``folds.json``: the cases of every fold, and which one is validated on.

    Raises:
        UserError: if the folder holds another split, because the data set has changed since.
    """
    folds = folds_of(dataset, num_folds, seed)
    values: dict[str, Any] = {
        "fold": fold,
        "num_folds": len(folds),
        "split_seed": seed,
        "folds": [list(each.held_out) for each in folds],
    }
    if dataset.fixed_folds:
        values |= {"source": SPLITS_NAME, "learned": [list(each.learned) for each in folds]}
    path = folder / FOLDS_NAME
    if path.exists():
        try:
            before: Mapping[str, Any] = read_json(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: damaged ({error}); delete it, and it is made again from the same settings"
            ) from None
        if before != values:
            raise UserError(
                f"{path}: the run began with other cases or folds than {dataset.folder} has now; restore the data set, "
                "or give another output folder"
            )
        return
    write_json(path, values, indent=2)
