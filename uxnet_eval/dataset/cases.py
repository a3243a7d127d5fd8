"""Cases, and the data set that they belong to: what is known before an image is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from search_space.errors import printable

from .image_file import ALL_SUFFIXES
from .names import check_names


@dataclass(frozen=True)
class Case:
    """One scan: its id (the file name without suffix), its image, and its label if any.

    Attributes:
        case_id: names the case everywhere.
        image: the file that holds all channels, or the first one.
        label: the file, or None.
        further_channels: files of the second channel and on, where each channel has its own.
    """

    case_id: str
    image: Path
    label: Path | None
    further_channels: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        check_names(printable(str(self.image.parent)), "case", [self.case_id])

    @property
    def images(self) -> tuple[Path, ...]:
        """All files of the image."""
        return (self.image, *self.further_channels)


class Fold(NamedTuple):
    """Ids of the cases that one fold learns from and validates on, each ascending."""

    learned: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class Patients:
    """Whose scan each case is.

    Attributes:
        of_case: the patient by case id; empty if nothing is known, so that each case counts alone.
        source: where that is said, for messages.
    """

    of_case: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    def of(self, case_id: str) -> str:
        """The patient of a case; a case that is not known is its own patient."""
        return self.of_case.get(case_id, case_id)


@dataclass(frozen=True)
class Dataset:
    """What ``dataset.json`` and the files beside it say; no image has been opened.

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
    patients: Patients = Patients()
    fixed_folds: tuple[Fold, ...] = ()
    """The folds of ``splits_final.json``; empty: there is no such file."""

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

    @property
    def num_patients(self) -> int:
        """Patients of the training cases."""
        return len({self.patients.of(case.case_id) for case in self.cases})


def case_id_of(path: str | Path) -> str:
    """The name without folder and suffix: ``heart_003`` for ``imagesTr/heart_003.nii.gz``."""
    name = Path(path).name
    for suffix in ALL_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
