"""Reading a data set: in the layout of the Medical Segmentation Decathlon (MSD) here.

That of nnU-Net is read by :mod:`uxnet_eval.dataset.nnunet`. Both may have ``splits_final.json`` and
``groups``.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_space.errors import UserError

from .arrays import load_image, load_label
from .cases import Case, Dataset, case_id_of
from .description import (
    DESCRIPTION_NAME,
    channel_names,
    check_classes,
    numbered_names,
    read_description,
    warn_of_counts,
)
from .nnunet import is_nnunet, read_nnunet
from .patients import find_patients
from .splits import read_splits

__all__ = ["Case", "Dataset", "case_id_of", "load_image", "load_label", "read_dataset"]

_SPATIAL_DIMS = {"2D": 2, "3D": 3, "4D": 3}  # MSD writes "4D" for volumes of several channels


def read_dataset(folder: str | Path) -> Dataset:
    """The data set that ``folder/dataset.json`` describes, in MSD's or nnU-Net's layout.

    Warns if ``numTraining`` or ``numTest`` disagrees with the cases.

    Raises:
        UserError: ``dataset.json`` is missing, unreadable or ill-formed, lists no training case, or
            lists two cases of one id; files of nnU-Net's layout are not called as they should be;
            or patients or folds do not fit the cases.
    """
    folder = Path(folder)
    path = folder / DESCRIPTION_NAME
    description = read_description(path)
    read = read_nnunet if is_nnunet(description) else _read_msd
    dataset = read(folder, path, description)
    dataset = replace(dataset, patients=find_patients(dataset, path, description))
    return replace(dataset, fixed_folds=read_splits(dataset))


def _read_msd(folder: Path, path: Path, description: Mapping[str, Any]) -> Dataset:
    size = description.get("tensorImageSize")
    if not isinstance(size, str) or size not in _SPATIAL_DIMS:
        raise UserError(
            f"{path}: tensorImageSize is {reprlib.repr(size)}, expected one of {', '.join(_SPATIAL_DIMS)}; "
            "write 2D for images, 3D or 4D for volumes"
        )
    channels = channel_names(path, description, "modality")
    classes = numbered_names(path, description, "labels")
    check_classes(path, classes)
    cases = _listed_cases(path, description, "training", labelled=True)
    test_cases = _listed_cases(path, description, "test", labelled=False)
    if not cases:
        raise UserError(f"{path}: lists no training case; add entries to 'training'")
    warn_of_counts(path, description, {"numTraining": cases, "numTest": test_cases})
    return Dataset(
        folder=folder,
        name=str(description.get("name") or folder.resolve().name),
        channel_names=channels,
        class_names=tuple(classes.values()),
        label_values=tuple(classes),
        cases=cases,
        test_cases=test_cases,
        spatial_dims=_SPATIAL_DIMS[size],
    )


def _listed_cases(path: Path, description: Mapping[str, Any], key: str, labelled: bool) -> tuple[Case, ...]:
    listed = description.get(key, [])
    if not isinstance(listed, list):
        raise UserError(f"{path}: {key} is a {type(listed).__name__}, expected a list of cases")
    cases: dict[str, Case] = {}
    for entry in listed:
        files = {"image": entry} if isinstance(entry, str) else entry
        wanted = ("image", "label") if labelled else ("image",)
        if not isinstance(files, dict) or not all(isinstance(files.get(name), str) for name in wanted):
            raise UserError(
                f"{path}: {key} holds {entry!r}, expected an object with {' and '.join(wanted)}; "
                "mend or drop the entry"
            )
        case_id = case_id_of(files["image"])
        if case_id in cases:
            raise UserError(f"{path}: {key} lists case {case_id} twice; rename one file or drop one entry")
        label = files.get("label")
        cases[case_id] = Case(
            case_id, path.parent / files["image"], path.parent / label if isinstance(label, str) else None
        )
    return tuple(cases.values())
