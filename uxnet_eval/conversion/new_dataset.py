"""The folder of a converted data set: complete, or not there at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_space.errors import UserError

from ..dataset.description import DESCRIPTION_NAME
from ..runs.files import write_json

IMAGES, LABELS = {"training": "imagesTr", "test": "imagesTs"}, {"training": "labelsTr", "test": "labelsTs"}
"""Folders of the cases to learn from, and of those that are kept for a test."""


@dataclass
class NewDataset:
    """The description that becomes ``dataset.json``.

    Attributes:
        name: of the data set.
        reference: where the data and its terms of use come from.
        tensor_image_size: ``2D`` or ``3D``.
        channels: names.
        labels: names by stored value.
        training, test: image and label of each case, relative to the folder.
        groups: the patient of each case, where a patient has several.
    """

    name: str
    reference: str
    tensor_image_size: str
    channels: Sequence[str]
    labels: Mapping[int, str]
    training: list[dict[str, str]] = field(default_factory=list)
    test: list[dict[str, str]] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)

    def add(self, part: str, image: str, label: str | None) -> None:
        """Adds a case to ``training`` or ``test``, by the names of its files."""
        entry = {"image": f"./{IMAGES[part]}/{image}"}
        if label is not None:
            entry["label"] = f"./{LABELS[part]}/{label}"
        (self.training if part == "training" else self.test).append(entry)

    def to_dict(self) -> dict[str, Any]:
        """As in ``dataset.json``."""
        values: dict[str, Any] = {
            "name": self.name,
            "reference": self.reference,
            "tensorImageSize": self.tensor_image_size,
            "modality": {str(number): name for number, name in enumerate(self.channels)},
            "labels": {str(value): name for value, name in self.labels.items()},
            "numTraining": len(self.training),
            "numTest": len(self.test),
            "training": self.training,
            "test": self.test,
        }
        return {**values, "groups": self.groups} if self.groups else values


@contextlib.contextmanager
def new_dataset(output: Path, description: NewDataset) -> Iterator[Path]:
    """A context that gives a folder to write to; at its end, the folder takes the place ``output``.

    If the context ends with an error, ``output`` is not made. What an earlier conversion left
    behind is removed.

    Raises:
        UserError: if ``output`` exists and is not empty, or cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: exists already and is not empty; give another folder")
    part = output.with_name(f".{output.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        for name in (*IMAGES.values(), *LABELS.values()):
            (part / name).mkdir(parents=True)
        try:
            yield part
            write_json(part / DESCRIPTION_NAME, description.to_dict())
            for name in (*IMAGES.values(), *LABELS.values()):
                with contextlib.suppress(OSError):
                    (part / name).rmdir()  # what no case uses
            part.replace(output)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror}); free space or give another folder"
        ) from None


def refuse_faults(folder: Path, faults: Mapping[str, Sequence[str]], advice: str) -> None:
    """Raises a :class:`UserError` of one line that names every case with a fault.

    Args:
        folder: the published data set.
        faults: what is wrong, and the cases.
        advice: what to do.
    """
    found = [f"{what}: {', '.join(cases)}" for what, cases in faults.items() if cases]
    if found:
        raise UserError(f"{folder}: {'; '.join(found)}; {advice}")
