"""ACDC (cine MRI of the heart) from its published folders into the project's layout.

Each patient has a folder: ``patient001/patient001_frame01.nii.gz``, the label beside it
(``patient001_frame01_gt.nii.gz``), a second frame, the film of all frames (not used), and
``Info.cfg``, which names the frames at end-diastole (``ED: 1``) and end-systole (``ES: 12``).
"""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from search_space.errors import UserError

from ..dataset.image_file import first_of, read_file, times
from .new_dataset import IMAGES, LABELS, NewDataset, new_dataset, refuse_faults

CLASSES = {0: "background", 1: "right ventricle", 2: "myocardium", 3: "left ventricle"}
TEST_FOLDER = "testing"
"""Folder of the patients that ACDC keeps for the test."""
INFO = "Info.cfg"
REFERENCE = (
    "ACDC, https://www.creatis.insa-lyon.fr/Challenge/acdc (CC BY-NC-SA 4.0); Bernard et al., IEEE TMI 2018"
)


def convert_acdc(
    folder: Path, output: Path, *, progress: Callable[[int, int], None] | None = None
) -> NewDataset:
    """Converts the patients below ``folder``; ``output`` becomes the data set.

    Each patient gives two cases, end-diastole and end-systole. ``groups`` in ``dataset.json`` names
    the patient of each, so that both lie in one fold. Patients in a folder ``testing`` become cases
    to test on. Files are copied as they are.

    Args:
        folder: holds the patients' folders, directly or in ``training`` and ``testing``.
        output: the new folder.
        progress: called after each patient with the number done and their total.

    Raises:
        UserError: in one line: there is no patient; missing or faulty files, with all their cases;
            ``output`` is not empty.
    """
    patients = sorted(path for path in folder.rglob("patient*") if path.is_dir())
    if not patients:
        raise UserError(f"{folder}: holds no folder patientXXX; give the unpacked database of ACDC")
    faults: dict[str, list[str]] = defaultdict(list)
    description = NewDataset("ACDC", REFERENCE, "3D", ("MRI",), CLASSES)
    with new_dataset(output, description) as part:
        for number, patient in enumerate(patients, start=1):
            kind = "test" if patient.parent.name == TEST_FOLDER else "training"
            for frame in _frames(patient, faults):
                case = f"{patient.name}_frame{frame:02d}"
                image, label = (patient / f"{case}{ending}.nii.gz" for ending in ("", "_gt"))
                if _is_sound(case, image, label, kind, faults):
                    name = f"{case}.nii.gz"
                    shutil.copyfile(image, part / IMAGES[kind] / name)
                    if label.is_file():
                        shutil.copyfile(label, part / LABELS[kind] / name)
                    description.add(kind, name, name if label.is_file() else None)
                    description.groups[case] = patient.name
            if progress is not None:
                progress(number, len(patients))
        refuse_faults(folder, faults, "mend these files, or remove the patients' folders")
        if not description.training:
            raise UserError(f"{folder}: holds patients to test on alone; give the training folder too")
    return description


def _frames(patient: Path, faults: dict[str, list[str]]) -> list[int]:
    """The numbers of the two frames that have a label; none, and a fault, if they are not said."""
    try:
        text = (patient / INFO).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = [re.search(rf"^\s*{phase}\s*:\s*(\d+)\s*$", text, flags=re.M) for phase in ("ED", "ES")]
    frames = [int(found[1]) for found in named if found is not None]
    if len(frames) < len(named):
        faults[f"patients whose {INFO} is missing or does not name ED and ES"].append(patient.name)
        return []
    return sorted(set(frames))


def _is_sound(case: str, image: Path, label: Path, kind: str, faults: dict[str, list[str]]) -> bool:
    """Whether a frame can be taken; otherwise it adds what is wrong to the faults."""
    if not image.is_file():
        faults["frames without an image"].append(case)
        return False
    if not label.is_file():
        if kind == "training":
            faults["images without a label"].append(case)
        return kind == "test"
    try:
        voxels, classes = (read_file(case, path, 3)[0] for path in (image, label))
    except UserError as error:
        faults["files that cannot be read"].append(f"({error})")
        return False
    if voxels.shape != classes.shape:
        sizes = f"{case} ({times(voxels.shape)}, label {times(classes.shape)})"
        faults["images and labels of different shape"].append(sizes)
        return False
    values = np.unique(classes)
    if not {*values.tolist()} <= CLASSES.keys():
        faults["labels with other values than 0 to 3"].append(f"{case} ({first_of(values)})")
        return False
    return True
