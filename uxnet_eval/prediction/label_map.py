"""Writing label maps and probabilities as NIfTI, whole or not at all.

Legend: K classes, *S the grid of the image that was predicted.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from search_space.errors import UserError

from ..dataset.image_file import NIFTI_SUFFIXES
from ..runs.files import leftovers, replacing

SUFFIX = ".nii.gz"

# What places the voxels in space, beside pixdim: copied as stored, so that no affine is computed
# anew.
_GEOMETRY = (
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)


class OutputError(UserError):
    """Nothing can be written any more, so that going on with the next case is of no use."""


def write_label_map(
    path: Path, label: np.ndarray, affine: np.ndarray, label_values: Sequence[int], image: Path
) -> None:
    """Writes a label as NIfTI, with the geometry of the image's header.

    Args:
        path: of the file, ending in ``.nii.gz``; its folder exists.
        label: class indices (*S).
        affine: 4x4, of the image.
        label_values: the value to store for each class index.
        image: whose label it is; NIfTI, or a picture without a geometry.

    Raises:
        OutputError: the disk is full, or the file cannot be written.
    """
    values = np.asarray(label_values, dtype=np.uint8 if max(label_values) <= 255 else np.int32)
    _write(path, values[label], affine, image)


def write_probabilities(path: Path, probabilities: np.ndarray, affine: np.ndarray, image: Path) -> None:
    """Writes probabilities (K, *S) as NIfTI (*S, K) float32 with the image's geometry.

    Raises:
        OutputError: the disk is full, or the file cannot be written.
    """
    values = np.moveaxis(probabilities, 0, -1).astype(np.float32)
    if values.ndim == 3:
        values = values[:, :, None]  # the third axis of NIfTI is one of space
    _write(path, values, affine, image)


@contextmanager
def replacing_output(path: Path) -> Iterator[Path]:
    """Like :func:`replacing`; first deletes what a killed run left of ``path``.

    Raises:
        OutputError: the disk is full, or the file cannot be written.
    """
    for leftover in leftovers(path):
        leftover.unlink(missing_ok=True)
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise output_error(path, error) from None


def output_error(path: Path, error: OSError) -> OutputError:
    """What to tell about a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutputError(
            f"{path}: the disk is full ({error.strerror}); nothing half-written is left and finished cases are kept: "
            "make room and run the same command again"
        )
    return OutputError(
        f"{path}: cannot be written ({error.strerror or error}); finished cases are kept: mend the folder or give "
        "another one"
    )


def _write(path: Path, values: np.ndarray, affine: np.ndarray, image: Path) -> None:
    kind, header = nib.Nifti1Image, nib.Nifti1Header()
    if image.name.lower().endswith(NIFTI_SUFFIXES):
        source: Any = nib.load(image)
        if isinstance(source, nib.Nifti2Image):
            kind, header = nib.Nifti2Image, nib.Nifti2Header()
        for name in _GEOMETRY:
            header[name] = source.header[name]
        header["pixdim"][:4] = source.header["pixdim"][:4]
    header.set_data_dtype(values.dtype)
    volume = kind(values, affine, header)
    with replacing_output(path) as temporary:
        nib.save(volume, temporary)
