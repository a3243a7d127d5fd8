"""``dataset.json``: reading the file, and what both of its forms have in common."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

from search_space.errors import UserError
from search_space.reading import read_json

DESCRIPTION_NAME = "dataset.json"

MAX_LABEL_VALUE = 65535
"""Label maps of more classes do not exist; a table of all values up to the largest is made."""

_EXAMPLES = {
    "modality": '{"0": "MRI"}',
    "channel_names": '{"0": "MRI"}',
    "labels": '{"0": "background", "1": "organ"}',
}


def read_description(path: Path) -> dict[str, Any]:
    """The object in ``dataset.json``; raises :class:`UserError` if there is none."""
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; give a folder in the layout of the Medical Segmentation Decathlon, or a raw "
            "folder of nnU-Net"
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


def numbered_names(path: Path, description: Mapping[str, Any], key: str) -> dict[int, str]:
    """``{"1": "b", "0": "a"}`` as ``{0: "a", 1: "b"}``, ascending."""
    names = description.get(key)
    advice = f'expected whole numbers and names; write for example "{key}": {_EXAMPLES[key]}'
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


def channel_names(path: Path, description: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The names under ``key``, which number the channels from 0."""
    channels = numbered_names(path, description, key)
    if list(channels) != list(range(len(channels))):
        raise UserError(
            f"{path}: {key} has the keys {list(channels)}, expected {list(range(len(channels)))}; number "
            "the channels from 0 in the order of the image files"
        )
    return tuple(channels.values())


def check_classes(path: Path, classes: Mapping[int, str]) -> None:
    """Raises :class:`UserError` unless label values (ascending) and names make a segmentation."""
    if not classes or min(classes) != 0 or len(classes) < 2:
        raise UserError(
            f"{path}: labels declares the values {list(classes)}, expected 0 (background) and at least one "
            'positive value; write for example {"0": "background", "1": "organ"}'
        )
    if len(set(classes.values())) < len(classes):
        raise UserError(f"{path}: two labels have one name in {list(classes.values())}; give each its own")


def warn_of_counts(path: Path, description: Mapping[str, Any], listed: Mapping[str, Sized]) -> None:
    """Warns where a declared number of cases (``numTraining``) is not that of the cases found."""
    for key, cases in listed.items():
        if description.get(key, len(cases)) != len(cases):
            warnings.warn(
                f"{path}: {key} is {description[key]!r} but {len(cases)} cases are listed; the list is used",
                stacklevel=4,
            )
