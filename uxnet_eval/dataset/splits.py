"""``splits_final.json``: the folds that nnU-Net uses, followed to the case."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

from search_space.errors import UserError, nearest
from search_space.reading import read_json

from .cases import Dataset, Fold
from .patients import FROM_NAMES

SPLITS_NAME = "splits_final.json"


def read_splits(dataset: Dataset) -> tuple[Fold, ...]:
    """The folds in ``splits_final.json`` in the data set's folder; none if there is no such file.

    A fold need not use all cases. The parts that folds validate on may overlap.

    Args:
        dataset: its training cases and patients.

    Raises:
        UserError: the file is ill-formed; a fold names a case that is not there, has a case or a
            patient in both parts, or has an empty part.
    """
    path = dataset.folder / SPLITS_NAME
    if not path.exists():
        return ()
    try:
        splits = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}), expected JSON; mend it") from None
    if not isinstance(splits, list) or not splits:
        raise UserError(
            f"{path}: found {reprlib.repr(splits)}, expected a list of folds, each with train and val; copy nnU-Net's"
        )
    return tuple(_fold(path, number, split, dataset) for number, split in enumerate(splits))


def _fold(path: Path, number: int, split: Any, dataset: Dataset) -> Fold:
    where = f"{path}: fold {number}"
    parts = [_part(where, split, key, dataset) for key in ("train", "val")]
    learned, held_out = parts
    both = sorted(set(learned) & set(held_out))
    if both:
        raise UserError(f"{where} has the case {both[0]} in train and in val; take it out of one of them")
    patients = dataset.patients
    seen = {patients.of(case_id): case_id for case_id in learned}
    for case_id in held_out:
        patient = patients.of(case_id)
        if patient in seen:
            advice = "move one of them"
            if patients.source == FROM_NAMES:
                advice += ", or say under groups in dataset.json that these are different patients"
            raise UserError(
                f"{where} has the patient {patient} in train ({seen[patient]}) and in val ({case_id}); {advice}"
            )
    return Fold(tuple(sorted(learned)), tuple(sorted(held_out)))


def _part(where: str, split: Any, key: str, dataset: Dataset) -> list[str]:
    ids = split.get(key) if isinstance(split, dict) else None
    if not isinstance(ids, list) or not ids or not all(isinstance(case_id, str) for case_id in ids):
        raise UserError(f"{where} has {reprlib.repr(ids)} under {key}, expected a list of case ids; mend it")
    known = {case.case_id for case in dataset.cases}
    for case_id in ids:
        if case_id not in known:
            raise UserError(
                f"{where} names the case {case_id} under {key}, which is no training case of {dataset.folder}"
                f"{nearest(case_id, sorted(known))}; add it, or take it out"
            )
    return list(dict.fromkeys(ids))
