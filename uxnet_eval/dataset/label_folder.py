"""Label maps in folders (of any program): found, matched by file name, and read.

Legend: *S spatial axes in the order of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from search_space.errors import UserError

from .arrays import WHOLE_TOLERANCE, label_with_faults
from .cases import Case, Dataset, case_id_of
from .description import DESCRIPTION_NAME, MAX_LABEL_VALUE
from .grids import GRID_TOLERANCE, largest_shift_voxels
from .image_file import ITK_SUFFIXES, NIFTI_SUFFIXES, first_of, read_file, times


def label_files(folder: Path, role: str) -> dict[str, Path]:
    """Label maps by case id, ascending: NIfTI, MetaImage and NRRD, or PNG in a folder without them.

    Raises:
        UserError: if the folder is absent or has none, or two files of one case.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected the {role}; mend the path")
    visible = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    chosen: list[Path] = []
    for suffixes in (NIFTI_SUFFIXES + ITK_SUFFIXES, (".png",)):
        chosen = chosen or [path for path in visible if path.name.lower().endswith(suffixes)]
    if not chosen:
        hint = "give it with --dataset" if (folder / DESCRIPTION_NAME).is_file() else "mend the path"
        raise UserError(
            f"{folder}: holds no label maps (.nii.gz, .nii, .mha, .nrrd or .png), expected the {role}; {hint}"
        )
    files: dict[str, Path] = {}
    for path in chosen:
        case_id = case_id_of(path)
        if case_id in files:
            raise UserError(
                f"{case_id}: {folder} holds both {files[case_id].name} and {path.name}, expected one file for a "
                "case; delete or rename one"
            )
        files[case_id] = path
    return files


def match_cases(
    where: Path,
    references: Mapping[str, Path],
    predictions: Path,
    prediction_files: Mapping[str, Path],
    allow_missing: bool,
) -> tuple[list[str], dict[str, list[str]]]:
    """Ids of the cases that have both files, ascending, and those of the others.

    Raises:
        UserError: names every case that lacks a file, if that is not allowed or none has both.
    """
    without_prediction = sorted(references.keys() - prediction_files.keys())
    without_reference = sorted(prediction_files.keys() - references.keys())
    matched = sorted(references.keys() & prediction_files.keys())
    found = []
    if without_prediction:
        found.append(
            f"{len(without_prediction)} of {len(references)} references ({where}) without a prediction: "
            + ", ".join(without_prediction)
        )
    if without_reference:
        found.append(
            f"{len(without_reference)} of {len(prediction_files)} predictions without a reference: "
            + ", ".join(without_reference)
        )
    if found and not matched:
        raise UserError(
            f"{predictions}: no case has both files; {'; '.join(found)}; files match by their names"
        )
    if found and not allow_missing:
        raise UserError(
            f"{predictions}: {'; '.join(found)}; add or rename the files, or leave these cases out with "
            "--allow-missing"
        )
    return matched, {
        "references_without_prediction": without_prediction,
        "predictions_without_reference": without_reference,
    }


def dataset_of_labels(
    folder: Path,
    matched: list[str],
    files: Mapping[str, Path],
    class_names: Mapping[int, str] | None,
    note_file: Callable[[], None],
) -> Dataset:
    """What ``dataset.json`` would say of a folder of references.

    Args:
        folder: of the references.
        matched: ids of the cases to score, at least one.
        files: of the references, by case id.
        class_names: by label value; None: the values that occur, for which every file is read.
        note_file: called after each file so read.

    Raises:
        UserError: if the first file is no label of 2 or 3 axes, the values are no whole numbers, or
            there is no class.
    """
    stored, _ = read_file(matched[0], files[matched[0]], 2, is_label=True)  # 2: any kind of file
    spatial_dims = _squeezed(stored, 3).ndim
    if spatial_dims not in (2, 3):
        raise UserError(
            f"{matched[0]}: {files[matched[0]]}: found an array of shape {times(stored.shape)}, expected a label "
            "of 2 or 3 axes; write one value for each voxel"
        )
    if class_names is None:
        values: set[int] = set()
        for case_id in matched:
            values |= _values(case_id, files[case_id])
            note_file()
        class_names = {value: str(value) for value in values - {0}}
        if not class_names:
            raise UserError(
                f"{folder}: every reference holds 0 alone, expected a class to score; mend the references or name "
                "the classes with --label"
            )
    by_value = {0: "background", **dict(sorted(class_names.items()))}
    if min(by_value) < 0 or 0 in class_names or not class_names or max(by_value) > MAX_LABEL_VALUE:
        raise UserError(
            f"labels {sorted(class_names)}: expected values from 1 to {MAX_LABEL_VALUE}; 0 is the background"
        )
    if len(set(by_value.values())) < len(by_value):
        raise UserError(f"two labels have one name in {list(by_value.values())}; give each its own")
    cases = tuple(Case(case_id, files[case_id], files[case_id]) for case_id in matched)
    return Dataset(
        folder, folder.name, (), tuple(by_value.values()), tuple(by_value), cases, (), spatial_dims
    )


def _values(case_id: str, path: Path) -> set[int]:
    """The values that occur in a reference."""
    found = np.unique(read_file(case_id, path, 2, is_label=True)[0]).astype(np.float64)
    with np.errstate(invalid="ignore"):
        whole = np.rint(found)
        bad = ~((np.abs(found - whole) <= WHOLE_TOLERANCE) & (whole >= 0) & (whole <= MAX_LABEL_VALUE))
    if bad.any():
        raise UserError(
            f"{case_id}: {path}: found the values {first_of(found[bad])}, expected whole label values from 0 to "
            f"{MAX_LABEL_VALUE}; give label maps, not images or probabilities"
        )
    return {int(value) for value in whole}


def read_label(case_id: str, path: Path, dataset: Dataset, declared_by: str) -> tuple[np.ndarray, np.ndarray]:
    """Class indices (*S) of a reference or prediction and its 4x4 affine.

    Args:
        case_id: begins an error message.
        path: of the file.
        dataset: which label values there may be, and how many axes.
        declared_by: where an undeclared value can be declared, for the error message.

    Raises:
        UserError: if the file cannot be read or is no label map of the data set's classes.
    """
    stored, affine = read_file(case_id, path, dataset.spatial_dims, is_label=True)
    label, faults = label_with_faults(stored, dataset, declared_by)
    if faults:
        raise UserError(f"{case_id}: {path}: {faults[0]}")
    return label, affine


def _squeezed(stored: np.ndarray, max_axes: int) -> np.ndarray:
    while stored.ndim > max_axes and stored.shape[-1] == 1:
        stored = stored.squeeze(axis=-1)
    return stored


def parse_labels(texts: Sequence[str]) -> dict[int, str]:
    """The names in ``1=anterior`` strings by label value.

    Raises:
        UserError: if one has another form, or a value comes twice.
    """
    names: dict[int, str] = {}
    for text in texts:
        value, _, name = text.partition("=")
        if not value.isdecimal() or not name:
            raise UserError(f"--label {text}: expected VALUE=NAME, such as --label 1=liver")
        if int(value) in names:
            raise UserError(f"--label {text}: value {int(value)} is named twice; give it once")
        names[int(value)] = name
    return names


def prediction_mismatch(
    shape: tuple[int, ...], affine: np.ndarray, other_shape: tuple[int, ...], other_affine: np.ndarray
) -> str | None:
    """The difference between the grids of a reference and its prediction; None if equal."""
    if shape != other_shape:
        return (
            f"found a prediction of shape {times(other_shape)}, expected {times(shape)} as its reference has; "
            "predict in the grid of the input, or resample with nearest neighbours"
        )
    shift_voxels = largest_shift_voxels(shape, affine, other_affine)
    if shift_voxels > GRID_TOLERANCE:
        return (
            f"found a prediction whose affine differs from its reference's (corners up to {shift_voxels:.3g} voxels "
            f"apart), expected at most {GRID_TOLERANCE:g}; copy the reference's header if both lie on one grid, "
            "else resample with nearest neighbours"
        )
    return None
