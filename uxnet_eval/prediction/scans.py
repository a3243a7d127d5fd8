"""What there is to predict: a file, a folder of files, or the cases of a data set; found and read.

Legend: C channels, *S spatial axes in the order of the file.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search_space.errors import UserError, nearest

from ..dataset.cases import Dataset, case_id_of
from ..dataset.description import DESCRIPTION_NAME
from ..dataset.grids import channel_mismatch
from ..dataset.image_file import read_file, suffixes_for, times
from ..dataset.msd import read_dataset
from ..dataset.names import check_names

_CHANNEL_NUMBER = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class Scan:
    """One image to predict: its id, which names the label map, and its file or one per channel."""

    case_id: str
    files: tuple[Path, ...]

    def __post_init__(self) -> None:
        check_names(self.files[0].parent, "case", [self.case_id])


def find_scans(
    source: Path,
    channel_names: Sequence[str],
    spatial_dims: int,
    *,
    training_cases: bool = False,
    case_ids: Sequence[str] = (),
) -> list[Scan]:
    """The scans of ``source``, none of which is opened.

    A folder with ``dataset.json`` gives its test cases. Any other folder gives its image files (not
    those of its subfolders), a case each; or, if they are called ``NAME_0000``, ``NAME_0001``, ...
    as for nnU-Net and the number of channels fits, a case for each NAME.

    Args:
        source: a file or a folder.
        channel_names: of the networks.
        spatial_dims: of the networks, 2 or 3.
        training_cases: of a data set its training cases instead.
        case_ids: of these alone, if any are given.

    Raises:
        UserError: there is nothing to predict; two files of one case; a data set of other channels
            or axes; a case id that does not exist.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder, expected images to predict; mend the path")
    is_dataset = source.is_dir() and (source / DESCRIPTION_NAME).is_file()
    if training_cases and not is_dataset:
        raise UserError(f"{source}: holds no dataset.json, so it has no training cases; leave --training out")
    if is_dataset:
        scans = _dataset_scans(source, channel_names, spatial_dims, training_cases)
    elif source.is_dir():
        scans = _folder_scans(source, len(channel_names), spatial_dims)
    else:
        scans = _grouped([source], len(channel_names))
    if not case_ids:
        return scans
    by_id = {scan.case_id: scan for scan in scans}
    for case_id in case_ids:
        if case_id not in by_id:
            raise UserError(
                f"{source}: has no case {case_id}{nearest(case_id, by_id)} among its {len(by_id)} cases; "
                "a case is called as its file without the suffix"
            )
    return [by_id[case_id] for case_id in dict.fromkeys(case_ids)]


def load_scan(scan: Scan, channel_names: Sequence[str], spatial_dims: int) -> tuple[np.ndarray, np.ndarray]:
    """The image as float32 (C, *S) and its 4x4 float64 affine (voxel to mm), oriented as stored.

    Raises:
        UserError: begins with the case id; a file is unreadable or truncated, has other axes or
            channels than the networks, or holds NaN or infinity; or a channel's file is missing or
            on another grid than the first.
    """
    num_channels = len(channel_names)
    if len(scan.files) > 1 and len(scan.files) != num_channels:
        raise UserError(
            f"{scan.case_id}: found the files {', '.join(path.name for path in scan.files)}, expected one for each of "
            f"{num_channels} channels ({', '.join(channel_names)}); add the missing one"
        )
    if len(scan.files) == 1:
        stored, affine = read_file(scan.case_id, scan.files[0], spatial_dims)
        return _image(scan.case_id, scan.files[0], stored, channel_names, spatial_dims), affine
    channels: list[np.ndarray] = []
    grid: tuple[tuple[int, ...], np.ndarray] | None = None
    for path, name in zip(scan.files, channel_names, strict=True):
        stored, affine = read_file(scan.case_id, path, spatial_dims)
        channel = _image(scan.case_id, path, stored, [name], spatial_dims)
        grid = grid or (channel.shape[1:], affine)
        mismatch = channel_mismatch(scan.files[0].name, *grid, channel.shape[1:], affine)
        if mismatch:
            raise UserError(f"{scan.case_id}: {path} {mismatch}")
        channels.append(channel)
    assert grid is not None
    return np.concatenate(channels), grid[1]


def _image(
    case_id: str, path: Path, stored: np.ndarray, channel_names: Sequence[str], spatial_dims: int
) -> np.ndarray:
    """A stored array (*S) or (*S, C) as float32 (C, *S)."""
    shape = stored.shape
    while stored.ndim > spatial_dims + 1 and stored.shape[spatial_dims] == 1:  # NIfTI keeps axis 4 for time
        stored = stored.squeeze(axis=spatial_dims)
    wanted = (
        f"{len(channel_names)} channel{'s' if len(channel_names) > 1 else ''} ({', '.join(channel_names)})"
    )
    if stored.ndim not in (spatial_dims, spatial_dims + 1):
        raise UserError(
            f"{case_id}: {path}: found a {stored.ndim}-D array of shape {times(shape)}, expected {spatial_dims} "
            f"spatial axes and {wanted}, as the checkpoint was trained with; convert the file"
        )
    num_channels = 1 if stored.ndim == spatial_dims else stored.shape[-1]
    if num_channels != len(channel_names):
        found = f"found {num_channels} channel{'s' if num_channels > 1 else ''}"
        if len(channel_names) == 1:
            found = f"found a {stored.ndim}-D array"
            wanted = f"a {spatial_dims}-D one, {wanted}"
        raise UserError(
            f"{case_id}: {path}: {found} (stored shape {times(shape)}), expected {wanted}, as the checkpoint was "
            "trained with; give such an image or another checkpoint"
        )
    image = stored[None] if stored.ndim == spatial_dims else np.moveaxis(stored, -1, 0)
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is reported
        image = np.ascontiguousarray(image, dtype=np.float32)
    num_bad = image.size - np.count_nonzero(np.isfinite(image))
    if num_bad:
        raise UserError(
            f"{case_id}: {path}: found NaN or infinity in {num_bad} of {image.size} voxels, expected finite "
            "intensities; export the image again or replace these values"
        )
    return image


def _dataset_scans(
    folder: Path, channel_names: Sequence[str], spatial_dims: int, training_cases: bool
) -> list[Scan]:
    dataset = read_dataset(folder)
    _check_dataset(dataset, channel_names, spatial_dims)
    cases = dataset.cases if training_cases else dataset.test_cases
    if not cases:
        raise UserError(
            f"{folder / DESCRIPTION_NAME}: lists no test case, expected images to predict; add them to 'test', or "
            "predict the training cases with --training"
        )
    return [Scan(case.case_id, case.images) for case in cases]


def _check_dataset(dataset: Dataset, channel_names: Sequence[str], spatial_dims: int) -> None:
    path, found, expected = (
        dataset.folder / DESCRIPTION_NAME,
        list(dataset.channel_names),
        list(channel_names),
    )
    if dataset.spatial_dims != spatial_dims:
        raise UserError(
            f"{path}: describes {dataset.spatial_dims}-D images, expected {spatial_dims}-D, as the checkpoint was "
            "trained with; give another data set or checkpoint"
        )
    if len(found) != len(expected) or (found != expected and sorted(found) == sorted(expected)):
        raise UserError(
            f"{path}: declares the channels {', '.join(found)}, expected {', '.join(expected)}, as the checkpoint "
            "was trained with; give images with these channels, in this order"
        )
    if found != expected:
        warnings.warn(
            f"{path}: calls the channels {', '.join(found)}, the checkpoint {', '.join(expected)}; taken as the same",
            stacklevel=2,
        )


def _folder_scans(folder: Path, num_channels: int, spatial_dims: int) -> list[Scan]:
    suffixes = suffixes_for(spatial_dims)
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(suffixes)
    )
    if not files:
        raise UserError(
            f"{folder}: holds no images ({', '.join(suffixes)}) and no dataset.json, expected images to predict; "
            "mend the path (subfolders are not looked through)"
        )
    return _grouped(files, num_channels)


def _grouped(files: Sequence[Path], num_channels: int) -> list[Scan]:
    """A scan for each file, or for each group of files that are one channel each."""
    groups: dict[str, dict[int, Path]] = {}
    numbered = [_CHANNEL_NUMBER.fullmatch(case_id_of(path)) for path in files]
    for path, match in zip(files, numbered, strict=True):
        if match:
            groups.setdefault(match[1], {}).setdefault(int(match[2]), path)
    # patient_0001, patient_0002 are cases, not channels: these count from 0 and at least one case
    # has them all.
    by_channel = (
        all(numbered)
        and all(max(group) < num_channels for group in groups.values())
        and any(len(group) == num_channels for group in groups.values())
        and sum(len(group) for group in groups.values()) == len(files)
    )
    if by_channel:
        return [
            Scan(name, tuple(path for _, path in sorted(group.items())))
            for name, group in sorted(groups.items())
        ]
    scans: dict[str, Scan] = {}
    for path in files:
        case_id = case_id_of(path)
        if case_id in scans:
            raise UserError(
                f"{case_id}: found both {scans[case_id].files[0]} and {path.name}, expected one file for a case; "
                "delete or rename one"
            )
        scans[case_id] = Scan(case_id, (path,))
    return list(scans.values())
