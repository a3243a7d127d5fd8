"""``uxnet check``: everything that is wrong with a data set, each fault in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search_space.errors import UserError

from .arrays import channels_of_files, image_with_faults, label_with_faults
from .cases import Case, Dataset
from .grids import channel_mismatch, grid_mismatch
from .image_file import read_file
from .msd import read_dataset
from .patients import FROM_NAMES
from .splits import SPLITS_NAME

MIN_CASES = 3
"""A search needs a validation case and one training case for each of its two halves."""


@dataclass(frozen=True)
class Fault:
    """One thing to mend; ``case_id`` is the data set's name where no single case is to blame."""

    case_id: str
    message: str

    def __str__(self) -> str:
        return f"{self.case_id}: {self.message}"


def check_dataset(folder: str | Path, progress: Callable[[int, int], None] | None = None) -> list[Fault]:
    """Every fault of the data set in ``folder``; empty if it is sound.

    Cases are in the order of ``dataset.json``.

    Opens every listed file, one case at a time, and goes on after a bad one.

    Args:
        folder: holds ``dataset.json``.
        progress: called after each case with the number of cases looked at and their total.

    Raises:
        UserError: ``dataset.json`` cannot be read, so that there is nothing to check.
    """
    dataset = read_dataset(folder)
    faults: list[Fault] = []
    found_classes: set[int] = set()
    num_sound_labels = 0
    all_cases = dataset.cases + dataset.test_cases
    for num_done, case in enumerate(all_cases, start=1):
        messages, classes = _check_case(case, dataset)
        faults += [Fault(case.case_id, message) for message in messages]
        if classes and num_done <= len(dataset.cases):
            found_classes |= classes
            num_sound_labels += 1
        if progress is not None:
            progress(num_done, len(all_cases))
    for value, name in zip(dataset.label_values, dataset.class_names, strict=True):
        if num_sound_labels and dataset.label_values.index(value) not in found_classes:
            faults.append(
                Fault(
                    dataset.name,
                    f"class {name} (label value {value}) occurs in none of {num_sound_labels} sound training "
                    "labels, expected at least one; drop it from labels in dataset.json or mend the labels",
                )
            )
    too_few = too_few_cases(dataset)
    return faults + ([too_few] if too_few else [])


def too_few_cases(dataset: Dataset) -> Fault | None:
    """A fault if there are not enough training cases to split for a search."""
    if dataset.num_patients >= MIN_CASES:
        return None
    found, wanted = f"{len(dataset.cases)} training cases", f"{MIN_CASES}"
    if dataset.num_patients < len(dataset.cases):
        found, wanted = f"{found} of {dataset.num_patients} patients", f"{MIN_CASES} patients"
    return Fault(
        dataset.name,
        f"found {found}, expected at least {wanted} (one to validate, one for each half of the search); add cases",
    )


def facts(dataset: Dataset) -> list[str]:
    """What is no fault but good to know: patients of several cases, given folds. A line each."""
    lines = []
    patients = dataset.patients
    by_patient: dict[str, list[str]] = {}
    for case in dataset.cases:
        by_patient.setdefault(patients.of(case.case_id), []).append(case.case_id)
    repeated = [ids for ids in by_patient.values() if len(ids) > 1]
    if repeated:
        line = (
            f"{len(dataset.cases)} training cases are of {len(by_patient)} patients by {patients.source}, such as "
            f"{' and '.join(repeated[0][:2])}; all cases of a patient stay in one fold"
        )
        if patients.source == FROM_NAMES:
            line += "; if these are different patients, say so under groups in dataset.json"
        lines.append(line)
    if dataset.fixed_folds:
        lines.append(f"the folds are the {len(dataset.fixed_folds)} of {SPLITS_NAME}")
    return lines


def _check_case(case: Case, dataset: Dataset) -> tuple[list[str], set[int]]:
    """The case's faults, and the classes in its label (none if the label is faulty)."""
    messages: list[str] = []
    dims = dataset.spatial_dims

    def stored_in(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
        try:
            return read_file(case.case_id, path, dims, is_label=path == case.label)
        except UserError as error:
            messages.append(str(error).removeprefix(f"{case.case_id}: "))
            return None

    image_grid: tuple[tuple[int, ...], np.ndarray] | None = None
    for path, names in channels_of_files(case, dataset):
        if (found := stored_in(path)) is None:
            continue
        image, faults = image_with_faults(found[0], dataset, names)
        if image.ndim == dims + 1:  # else there is no telling which axes are spatial
            if image_grid is None:
                image_grid = image.shape[1:], found[1]
            else:
                mismatch = channel_mismatch(case.image.name, *image_grid, image.shape[1:], found[1])
                faults += [mismatch] if mismatch else []
        messages += [f"{path}: {fault}" for fault in faults]
    classes: set[int] = set()
    if case.label is not None and (found := stored_in(case.label)) is not None:
        label, faults = label_with_faults(found[0], dataset)
        messages += [f"{case.label}: {fault}" for fault in faults]
        if not faults:
            classes = set(np.flatnonzero(np.bincount(label.ravel())).tolist())
        if image_grid is not None and label.ndim == dims:
            mismatch = grid_mismatch(*image_grid, label.shape, found[1])
            messages += [mismatch] if mismatch else []
    return messages, classes
