"""Reading a data set in the layout of the Medical Segmentation Decathlon (MSD).

Array legend: C channels, *S the spatial axes in the file's order: X Y Z, X Y, or rows and columns.
"""

from __future__ import annotations

import reprlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search_space.errors import UserError, printable
from search_space.reading import read_json

from .image_file import NIFTI_SUFFIXES, PICTURE_SUFFIXES, first_of, read_file, times
from .names import check_names

WHOLE_TOLERANCE = 1e-4
"""A stored label this close to a whole number counts as whole: header scaling leaves errors."""

MAX_LABEL_VALUE = 65535
"""Label maps of more classes do not exist; a table of all values up to the largest is made."""

_SPATIAL_DIMS = {"2D": 2, "3D": 3, "4D": 3}  # MSD writes "4D" for volumes of several channels


@dataclass(frozen=True)
class Case:
    """One scan: its id (the file name without suffix), its image, and its label if any."""

    case_id: str
    image: Path
    label: Path | None

    def __post_init__(self) -> None:
        check_names(printable(str(self.image.parent)), "case", [self.case_id])


@dataclass(frozen=True)
class Dataset:
    """What ``dataset.json`` says; no image has been opened.

    ``label_values[k]`` is the value that a label file stores for class index k. Class 0 is the
    background and its value 0; the other values ascend and need not be contiguous (a 2-D set may
    hold 0 and 255).
    """

    folder: Path
    name: str
    channel_names: tuple[str, ...]
    class_names: tuple[str, ...]
    label_values: tuple[int, ...]
    cases: tuple[Case, ...]
    test_cases: tuple[Case, ...]
    spatial_dims: int

    def __post_init__(self) -> None:
        check_names(self.folder, "data set", [self.name] if self.name else [])
        check_names(self.folder, "channel", self.channel_names)
        check_names(self.folder, "class", self.class_names)

    @property
    def num_channels(self) -> int:
        """Channels of every image."""
        return len(self.channel_names)

    @property
    def num_classes(self) -> int:
        """Classes, background included."""
        return len(self.class_names)


def read_dataset(folder: str | Path) -> Dataset:
    """The data set that ``folder/dataset.json`` describes.

    Warns if ``numTraining`` or ``numTest`` disagrees with the lists.

    Raises:
        UserError: ``dataset.json`` is missing, unreadable or ill-formed, lists no training case, or
            lists two cases of one id.
    """
    folder = Path(folder)
    path = folder / "dataset.json"
    description = _read_json(path)
    size = description.get("tensorImageSize")
    if not isinstance(size, str) or size not in _SPATIAL_DIMS:
        raise UserError(
            f"{path}: tensorImageSize is {reprlib.repr(size)}, expected one of {', '.join(_SPATIAL_DIMS)}; "
            "write 2D for images, 3D or 4D for volumes"
        )
    channels = _numbered_names(path, description, "modality")
    if list(channels) != list(range(len(channels))):
        raise UserError(
            f"{path}: modality has the keys {list(channels)}, expected {list(range(len(channels)))}; number "
            "the channels from 0 in the order of the image files"
        )
    classes = _numbered_names(path, description, "labels")
    if min(classes) != 0 or len(classes) < 2:
        raise UserError(
            f"{path}: labels declares the values {list(classes)}, expected 0 (background) and at least one "
            'positive value; write for example {"0": "background", "1": "organ"}'
        )
    if len(set(classes.values())) < len(classes):
        raise UserError(f"{path}: two labels have one name in {list(classes.values())}; give each its own")
    cases = _listed_cases(path, description, "training", labelled=True)
    test_cases = _listed_cases(path, description, "test", labelled=False)
    if not cases:
        raise UserError(f"{path}: lists no training case; add entries to 'training'")
    for key, listed in (("numTraining", cases), ("numTest", test_cases)):
        if description.get(key, len(listed)) != len(listed):
            warnings.warn(
                f"{path}: {key} is {description[key]!r} but {len(listed)} cases are listed; the list is used",
                stacklevel=2,
            )
    return Dataset(
        folder=folder,
        name=str(description.get("name") or folder.resolve().name),
        channel_names=tuple(channels.values()),
        class_names=tuple(classes.values()),
        label_values=tuple(classes),
        cases=cases,
        test_cases=test_cases,
        spatial_dims=_SPATIAL_DIMS[size],
    )


def load_image(case: Case, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The image as float32 (C, *S) and its 4x4 float64 affine (voxel to mm), oriented as stored.

    PNG and JPEG have no affine: it is the identity.

    Raises:
        UserError: begins with the case id; the file is absent, unreadable or truncated, has a
            singular affine, other channels than ``dataset.json`` declares, or holds NaN or
            infinity.
    """
    stored, affine = read_file(case.case_id, case.image, dataset.spatial_dims)
    image, faults = image_with_faults(stored, dataset)
    if faults:
        raise UserError(f"{case.case_id}: {case.image}: {faults[0]}")
    return image, affine


def load_label(case: Case, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The label as int64 class indices (*S) and its 4x4 float64 affine, oriented as stored.

    Raises:
        UserError: begins with the case id; the case has no label, or the file is absent, unreadable
            or truncated, has a singular affine, several channels, fractional or undeclared values.
    """
    if case.label is None:
        raise UserError(f"{case.case_id}: has no label; only the cases under 'training' have one")
    stored, affine = read_file(case.case_id, case.label, dataset.spatial_dims)
    label, faults = label_with_faults(stored, dataset)
    if faults:
        raise UserError(f"{case.case_id}: {case.label}: {faults[0]}")
    return label, affine


def image_with_faults(stored: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, list[str]]:
    """A stored image (*S) or (*S, C) as float32 (C, *S), and its faults."""
    dims = dataset.spatial_dims
    if stored.ndim > dims + 1:  # NIfTI puts channels on the fourth or fifth axis, after axes of length 1
        while stored.ndim > dims + 1 and stored.shape[dims] == 1:
            stored = stored.squeeze(axis=dims)
    if stored.ndim not in (dims, dims + 1):
        return stored, [
            f"found an array of shape {times(stored.shape)}, expected {dims} spatial axes and at most one of "
            f"channels; mend the file, or tensorImageSize in dataset.json"
        ]
    image = stored[None] if stored.ndim == dims else np.moveaxis(stored, -1, 0)
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is reported
        image = np.ascontiguousarray(image, dtype=np.float32)
    faults = []
    if image.shape[0] != dataset.num_channels:
        faults.append(
            f"found {image.shape[0]} channels (stored shape {times(stored.shape)}), expected "
            f"{dataset.num_channels} ({', '.join(dataset.channel_names)}); mend the image, or modality in "
            "dataset.json"
        )
    num_bad = image.size - np.count_nonzero(np.isfinite(image))
    if num_bad:
        faults.append(
            f"found NaN or infinity in {num_bad} of {image.size} voxels, expected finite intensities; "
            "export the image again or replace these values"
        )
    return image, faults


def label_with_faults(
    stored: np.ndarray, dataset: Dataset, declared_by: str = "under labels in dataset.json"
) -> tuple[np.ndarray, list[str]]:
    """A stored label (*S) as int64 class indices (*S), and its faults.

    ``declared_by`` ends the advice about an undeclared value.
    """
    dims = dataset.spatial_dims
    while stored.ndim > dims and stored.shape[-1] == 1:
        stored = stored.squeeze(axis=-1)
    if stored.ndim != dims:
        return stored, [
            f"found an array of shape {times(stored.shape)}, expected a label of {dims} axes and no channels; "
            "write one value for each voxel"
        ]
    with np.errstate(invalid="ignore"):
        whole = np.rint(stored)
        fractional = ~(np.abs(stored - whole) <= WHOLE_TOLERANCE)  # so that NaN is fractional too
    highest = dataset.label_values[-1]
    class_of_value = np.full(highest + 2, -1)  # the last entry stands for every value outside 0..highest
    class_of_value[list(dataset.label_values)] = np.arange(dataset.num_classes)
    outside = ~((whole >= 0) & (whole <= highest))
    label = class_of_value[np.where(outside, highest + 1, whole).astype(np.int64)]
    faults = []
    if fractional.any():
        faults.append(
            f"found fractional label values ({first_of(np.unique(stored[fractional]))}), expected whole ones; "
            "if the label was resampled, repeat it with nearest neighbours"
        )
    undeclared = ~fractional & (label < 0)
    if undeclared.any():
        declared = ", ".join(str(value) for value in dataset.label_values)
        faults.append(
            f"found undeclared label values ({first_of(np.unique(whole[undeclared]))}), expected {declared}; "
            f"mend the label, or declare them {declared_by}"
        )
    return label, faults


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; give a folder in the layout of the Medical Segmentation Decathlon"
        )
    try:
        description = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}), expected JSON; mend or download it again"
        ) from None
    if not isinstance(description, dict):
        raise UserError(
            f"{path}: found a {type(description).__name__}, expected an object of keys and values"
        )
    return description


def _numbered_names(path: Path, description: dict[str, Any], key: str) -> dict[int, str]:
    """``{"1": "b", "0": "a"}`` as ``{0: "a", 1: "b"}``, ascending."""
    names = description.get(key)
    example = {"modality": '{"0": "MRI"}', "labels": '{"0": "background", "1": "organ"}'}[key]
    advice = f'expected whole numbers and names; write for example "{key}": {example}'
    if not isinstance(names, dict) or not names:
        raise UserError(f"{path}: {key} is {reprlib.repr(names)}, {advice}")
    numbered: dict[int, str] = {}
    for number, name in names.items():
        if not str(number).isdecimal() or len(number) > 5 or int(number) > MAX_LABEL_VALUE:
            raise UserError(
                f"{path}: {key} holds {reprlib.repr(number)}: {reprlib.repr(name)}, {advice}; the largest number is "
                f"{MAX_LABEL_VALUE}"
            )
        if not isinstance(name, str) or int(number) in numbered:
            raise UserError(f"{path}: {key} holds {number!r}: {reprlib.repr(name)}, {advice}")
        numbered[int(number)] = name
    return dict(sorted(numbered.items()))


def _listed_cases(path: Path, description: dict[str, Any], key: str, labelled: bool) -> tuple[Case, ...]:
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


def case_id_of(path: str | Path) -> str:
    """The name without folder and suffix: ``heart_003`` for ``imagesTr/heart_003.nii.gz``."""
    name = Path(path).name
    for suffix in NIFTI_SUFFIXES + PICTURE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
