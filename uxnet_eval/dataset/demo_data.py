"""``uxnet demo-data``: a generated data set in MSD layout that takes some skill to segment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from search_space.errors import UserError
from search_space.reading import read_json

from ..runs.files import replacing
from .check import MIN_CASES
from .description import DESCRIPTION_NAME
from .image_file import times
from .msd import read_dataset
from .phantom import CLASS_NAMES, MAX_CHANNELS, draw_scan

MIN_SIZE_VOXELS = 8
"""Below this an axis is too short for three organs."""

SLICES_PER_VOXEL = 3
"""Spacing of the last axis of an anisotropic set, in mm; the other axes have 1 mm."""

_DEFAULT_SIZES_VOXELS = {  # by spatial_dims and anisotropic
    (3, False): (40, 40, 32),
    (3, True): (40, 40, 12),
    (2, False): (80, 80),
    (2, True): (80, 27),
}

_GENERATOR_VERSION = 1  # raise it when the same settings give other voxels
_SETTINGS_KEY = "demo_settings"


def make_demo_data(
    folder: str | Path,
    *,
    num_cases: int = 24,
    spatial_dims: int = 3,
    num_channels: int = 1,
    anisotropic: bool = False,
    seed: int = 0,
    size_voxels: tuple[int, ...] | None = None,
) -> Path:
    """Writes the data set, whole or not at all, and returns its folder.

    Each scan holds a large, a medium and a small organ that rests on the medium one, among blobs of
    the same intensity that are no organs; the cases differ by pose, deformation, bias field, noise
    and gain. The same arguments give the same files. A folder that holds a set of the same settings
    is kept as it is.

    Args:
        folder: to be made; may exist if it is empty.
        num_cases: labelled training cases, at least ``MIN_CASES``.
        spatial_dims: 3, or 2 (NIfTI images of two axes).
        num_channels: 1 to ``MAX_CHANNELS``, of different contrast.
        anisotropic: the last axis has a spacing of 3 mm and a third of the voxels; otherwise all
            have 1 mm.
        seed: not negative.
        size_voxels: of one image; by default 40x40x32 (anisotropic: 40x40x12), in 2-D 80x80
            (80x27).

    Raises:
        UserError: an argument is out of range, or ``folder`` holds something else.
    """
    folder = Path(folder)
    if spatial_dims not in (2, 3):
        raise UserError(f"spatial_dims is {spatial_dims}, expected 2 or 3")
    if size_voxels is None:
        size_voxels = _DEFAULT_SIZES_VOXELS[spatial_dims, anisotropic]
    size_voxels = tuple(int(size) for size in size_voxels)
    if len(size_voxels) != spatial_dims or min(size_voxels) < MIN_SIZE_VOXELS:
        raise UserError(
            f"size_voxels is {times(size_voxels)}, expected {spatial_dims} axes of at least {MIN_SIZE_VOXELS} voxels"
        )
    if not 1 <= num_channels <= MAX_CHANNELS:
        raise UserError(f"num_channels is {num_channels}, expected 1 to {MAX_CHANNELS}")
    if num_cases < MIN_CASES:
        raise UserError(
            f"num_cases is {num_cases}, expected at least {MIN_CASES}, so that a search can split them"
        )
    if seed < 0:
        raise UserError(f"seed is {seed}, expected 0 or more")
    settings = {
        "generator_version": _GENERATOR_VERSION,
        "num_cases": num_cases,
        "spatial_dims": spatial_dims,
        "num_channels": num_channels,
        "anisotropic": anisotropic,
        "seed": seed,
        "size_voxels": list(size_voxels),
    }
    if _is_kept(folder, settings):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(folder) as part:
            _write(part, settings)
    except OSError:
        if not _is_kept(folder, settings):  # else another process has just finished the same set
            raise
    return folder


def _is_kept(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether ``folder`` holds the set already.

    False if it is absent or empty; raises :class:`UserError` if it holds anything else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    advice = "expected nothing, or a demo set of the same settings; give another folder or remove this one"
    try:
        found = dict(read_json(folder / DESCRIPTION_NAME)[_SETTINGS_KEY])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder}: holds something that is no demo set, {advice}") from None
    if found != settings:
        changed = [f"{key} {found.get(key)}" for key in settings if found.get(key) != settings[key]]
        raise UserError(f"{folder}: holds a demo set of other settings ({', '.join(changed)}), {advice}")
    absent = [
        case.case_id
        for case in read_dataset(folder).cases
        if not (case.image.is_file() and (case.label and case.label.is_file()))
    ]
    if absent:
        raise UserError(f"{folder}: holds a demo set without its case {absent[0]}, {advice}")
    return True


def _write(folder: Path, settings: dict[str, Any]) -> None:
    spatial_dims, num_channels = settings["spatial_dims"], settings["num_channels"]
    slices_per_voxel = SLICES_PER_VOXEL if settings["anisotropic"] else 1
    spacing_mm = np.ones(3)
    spacing_mm[spatial_dims - 1] = slices_per_voxel
    affine = np.diag([*spacing_mm, 1.0])
    affine[:spatial_dims, 3] = -0.5 * spacing_mm[:spatial_dims] * (np.array(settings["size_voxels"]) - 1)
    for subfolder in ("imagesTr", "labelsTr"):
        (folder / subfolder).mkdir(parents=True)
    training = []
    for index in range(settings["num_cases"]):
        rng = np.random.default_rng([settings["seed"], index])
        scan = draw_scan(rng, tuple(settings["size_voxels"]), num_channels, slices_per_voxel)
        image = scan.image[0] if num_channels == 1 else np.moveaxis(scan.image, 0, -1)
        if num_channels > 1 and spatial_dims == 2:
            image = image[:, :, None]  # NIfTI keeps the third axis for space and the fourth for channels
        name = f"demo_{index:03d}.nii.gz"
        nib.save(nib.Nifti1Image(image, affine), folder / "imagesTr" / name)
        nib.save(nib.Nifti1Image(scan.label, affine), folder / "labelsTr" / name)
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    description = {
        "name": "Demo",
        "description": "Generated scans: three organs among blobs of like intensity",
        "tensorImageSize": "2D" if spatial_dims == 2 else "3D" if num_channels == 1 else "4D",
        "modality": {str(index): f"contrast {index + 1}" for index in range(num_channels)},
        "labels": {str(index): name for index, name in enumerate(CLASS_NAMES)},
        "numTraining": len(training),
        "numTest": 0,
        "training": training,
        "test": [],
        _SETTINGS_KEY: settings,
    }
    (folder / DESCRIPTION_NAME).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
