"""Writing a small data set in MSD layout from arrays, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from uxnet_eval.dataset.msd import Dataset, read_dataset


def write_msd_folder(
    folder: Path,
    cases: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    channels: Sequence[str] = ("MRI",),
    num_classes: int = 2,
    spatial_dims: int = 3,
) -> Dataset:
    """A data set of NIfTI files: per case id an image (*S) or (*S, C), a label (*S) and a 4x4 affine."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for case_id, (image, label, affine) in cases.items():
        nib.save(nib.Nifti1Image(image, affine), folder / "imagesTr" / f"{case_id}.nii.gz")
        nib.save(nib.Nifti1Image(label.astype(np.uint8), affine), folder / "labelsTr" / f"{case_id}.nii.gz")
    return describe_msd_folder(folder, list(cases), channels, num_classes, spatial_dims)


def describe_msd_folder(
    folder: Path, case_ids: Sequence[str], channels: Sequence[str], num_classes: int, spatial_dims: int
) -> Dataset:
    """Writes the ``dataset.json`` of files that lie there already, and reads it."""
    description = {
        "name": "tiny",
        "tensorImageSize": f"{spatial_dims}D",
        "modality": {str(i): name for i, name in enumerate(channels)},
        "labels": {str(k): f"class{k}" for k in range(num_classes)},
        "training": [
            {"image": f"./imagesTr/{case_id}.nii.gz", "label": f"./labelsTr/{case_id}.nii.gz"}
            for case_id in case_ids
        ],
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return read_dataset(folder)
