"""Reading a raw data set of nnU-Net v2: ``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``.

Every channel of a case has a file of its own, numbered with four digits; a colour picture is one
file. ``dataset.json`` holds ``channel_names``, ``labels`` by name, and ``file_ending``.
"""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search_space.errors import UserError

from .cases import Case, Dataset
from .description import MAX_LABEL_VALUE, channel_names, check_classes, warn_of_counts
from .image_file import ALL_SUFFIXES, PICTURE_SUFFIXES, file_dims

_CHANNEL_FILE = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
_OTHER_SUFFIXES = (".mhd", ".nhdr", ".gipl", ".bmp", ".tif", ".tiff", ".img", ".dcm")
"""Images of kinds that cannot be read, to name them in messages."""


def is_nnunet(description: Mapping[str, Any]) -> bool:
    """Whether a ``dataset.json`` is nnU-Net's; that of the Decathlon has ``modality``."""
    return "modality" not in description and bool({"channel_names", "file_ending"} & description.keys())


def read_nnunet(folder: Path, path: Path, description: Mapping[str, Any]) -> Dataset:
    """The data set in a raw folder of nnU-Net.

    The header of one image says whether it is in 2-D or 3-D.

    Args:
        folder: such as ``Dataset004_Hippocampus``.
        path: of its ``dataset.json``.
        description: the content of the file.

    Raises:
        UserError: ``dataset.json`` is ill-formed, or declares regions or a label to ignore; files
            are called otherwise than nnU-Net asks, or have mixed endings; there is no case.
    """
    channels = channel_names(path, description, "channel_names")
    classes = _classes(path, description)
    ending = _file_ending(path, description)
    if "dataset" in description:
        cases = _listed_cases(path, description["dataset"], len(channels), ending)
    else:
        cases = _training_cases(folder, len(channels), ending)
    test_cases: tuple[Case, ...] = ()
    if (folder / "imagesTs").is_dir():
        images = _images(folder / "imagesTs", len(channels), ending)
        test_cases = tuple(Case(case_id, files[0], None, files[1:]) for case_id, files in images.items())
    warn_of_counts(path, description, {"numTraining": cases, "numTest": test_cases})
    return Dataset(
        folder=folder,
        name=str(description.get("name") or folder.resolve().name),
        channel_names=channels,
        class_names=tuple(classes.values()),
        label_values=tuple(classes),
        cases=cases,
        test_cases=test_cases,
        spatial_dims=_spatial_dims(path, cases),
    )


def _classes(path: Path, description: Mapping[str, Any]) -> dict[int, str]:
    """Names by label value, ascending."""
    labels = description.get("labels")
    if not isinstance(labels, dict):
        raise UserError(
            f"{path}: labels is {reprlib.repr(labels)}, expected names and values; write for example "
            '"labels": {"background": 0, "organ": 1}'
        )
    regions = [name for name, value in labels.items() if isinstance(value, list) and len(value) > 1]
    if regions or description.get("regions_class_order"):
        named = f" ({', '.join(regions)})" if regions else ""
        raise UserError(
            f"{path}: labels declares regions{named}, and training on regions that overlap is not offered; give each "
            "label one value, and leave regions_class_order out"
        )
    if "ignore" in labels:
        raise UserError(
            f"{path}: labels declares a label to ignore, which is not offered; leave the cases that hold it out, or "
            "give it to a class"
        )
    classes: dict[int, str] = {}
    for name, value in labels.items():
        number = value[0] if isinstance(value, list) and value else value
        text = str(number)
        if isinstance(number, bool) or not text.isdecimal() or int(text) > MAX_LABEL_VALUE:
            raise UserError(
                f"{path}: labels gives {name} the value {reprlib.repr(value)}, expected a whole number from 0 to "
                f"{MAX_LABEL_VALUE}; mend it"
            )
        if int(text) in classes:
            raise UserError(
                f"{path}: labels gives {classes[int(text)]} and {name} the value {text}; give each its own"
            )
        classes[int(text)] = name
    classes = dict(sorted(classes.items()))
    check_classes(path, classes)
    return classes


def _file_ending(path: Path, description: Mapping[str, Any]) -> str:
    ending = description.get("file_ending")
    if ending not in ALL_SUFFIXES:
        raise UserError(
            f"{path}: file_ending is {reprlib.repr(ending)}, expected one of {', '.join(ALL_SUFFIXES)}; mend it, or "
            "convert the files"
        )
    return str(ending)


def _training_cases(folder: Path, num_channels: int, ending: str) -> tuple[Case, ...]:
    images = _images(folder / "imagesTr", num_channels, ending)
    labels = folder / "labelsTr"
    for file in _visible_images(labels, ending):
        if file.name.removesuffix(ending) not in images:
            raise UserError(
                f"{file}: is the label of no case in {folder / 'imagesTr'}; add its image, or take the label out"
            )
    return tuple(
        Case(case_id, files[0], labels / f"{case_id}{ending}", files[1:]) for case_id, files in images.items()
    )


def _images(folder: Path, num_channels: int, ending: str) -> dict[str, tuple[Path, ...]]:
    """The files of each case, one for each channel whether it is there or not."""
    found: dict[str, set[int]] = {}
    for file in _visible_images(folder, ending):
        match = _CHANNEL_FILE.fullmatch(file.name.removesuffix(ending))
        if not match:
            raise UserError(
                f"{file}: has no channel number, expected a name such as {file.name.removesuffix(ending)}_0000{ending}"
                "; rename it"
            )
        if int(match["channel"]) >= num_channels:
            raise UserError(
                f"{file}: is channel {int(match['channel'])}, expected {num_channels} channels from 0 as under "
                "channel_names; declare it, or take the file out"
            )
        found.setdefault(match["case"], set()).add(int(match["channel"]))
    if not found:
        raise UserError(f"{folder}: holds no image (CASE_0000{ending}); mend the path, or file_ending")
    is_colour = ending in PICTURE_SUFFIXES and all(numbers == {0} for numbers in found.values())
    numbers = range(1 if is_colour else num_channels)
    return {
        case_id: tuple(folder / f"{case_id}_{number:04d}{ending}" for number in numbers)
        for case_id in sorted(found)
    }


def _visible_images(folder: Path, ending: str) -> list[Path]:
    """The images of a folder, sorted; raises if the folder is absent or holds other endings."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected one in a raw folder of nnU-Net; mend the path")
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    others = [
        path
        for path in files
        if not path.name.endswith(ending) and path.name.lower().endswith(ALL_SUFFIXES + _OTHER_SUFFIXES)
    ]
    if others:
        raise UserError(
            f"{folder}: holds mixed file endings: {others[0].name} beside the file_ending {ending} ({len(others)} of "
            f"{len(files)} files); convert them to {ending}, or take them out"
        )
    return [path for path in files if path.name.endswith(ending)]


def _listed_cases(path: Path, listed: Any, num_channels: int, ending: str) -> tuple[Case, ...]:
    """The cases under ``dataset`` in ``dataset.json``, whose files may lie anywhere."""
    if not isinstance(listed, dict) or not listed:
        raise UserError(f"{path}: dataset is {reprlib.repr(listed)}, expected an object of cases")
    cases = []
    for case_id, files in listed.items():
        images = files.get("images") if isinstance(files, dict) else None
        label = files.get("label") if isinstance(files, dict) else None
        if not isinstance(images, list) or not all(isinstance(file, str) for file in [*images, label]):
            raise UserError(
                f"{path}: dataset holds {reprlib.repr(files)} for {case_id}, expected images, a list, and label; "
                "mend it"
            )
        is_colour = ending in PICTURE_SUFFIXES and len(images) == 1
        if len(images) != num_channels and not is_colour:
            raise UserError(
                f"{path}: dataset lists {len(images)} images for {case_id}, expected one for each of {num_channels} "
                "channels; mend it"
            )
        others = [file for file in [*images, label] if not str(file).endswith(ending)]
        if others:
            raise UserError(
                f"{path}: dataset lists mixed file endings: {others[0]} beside the file_ending {ending}; convert it"
            )
        paths = [path.parent / os.path.expandvars(file) for file in images]
        cases.append(Case(case_id, paths[0], path.parent / os.path.expandvars(str(label)), tuple(paths[1:])))
    return tuple(sorted(cases, key=lambda case: case.case_id))


def _spatial_dims(path: Path, cases: Sequence[Case]) -> int:
    """2 or 3, by the first image whose header can be read."""
    for case in cases:
        dims = file_dims(case.image)
        if dims is not None:
            return dims
    raise UserError(
        f"{path}: none of its {len(cases)} images can be read ({cases[0].image}); copy the data set again"
    )
