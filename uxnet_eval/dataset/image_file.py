"""Reading one image file as it is stored: NIfTI, MetaImage, NRRD, and in 2-D PNG and JPEG.

Array legend: C channels, *S the spatial axes of the file; arrays are (*S) or channels last, (*S,
C).
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any, Protocol

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from PIL import Image

from search_space.errors import UserError

from ..runs.memory import refuse_beyond_memory
from .itk_image import ITK_SUFFIXES, itk_shape, read_itk

NIFTI_SUFFIXES = (".nii.gz", ".nii")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
ALL_SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES + PICTURE_SUFFIXES


PALETTE_MODES = ("P", "PA")
"""Pillow's names of pictures whose numbers stand for colours of a table."""

MAX_SPACING_MM = 1e4
"""Beyond any scanner's; a micrograph in micrometres stays below."""
MAX_OFFSET_MM = 1e7
MAX_GZIP_RATIO = 1032
"""The most that gzip compresses anything."""
MAX_BYTES_BEHIND = 16 * 2**20


def suffixes_for(spatial_dims: int) -> tuple[str, ...]:
    """The kinds of files that may hold an image of 2 or 3 axes."""
    return NIFTI_SUFFIXES + ITK_SUFFIXES + (PICTURE_SUFFIXES if spatial_dims == 2 else ())


def file_dims(path: Path) -> int | None:
    """Whether a file holds an image of 2 or 3 axes, from its header; None if it is unreadable.

    A third axis of length 1 does not count.
    """
    lower = path.name.lower()
    if lower.endswith(PICTURE_SUFFIXES):
        return 2
    try:
        shape = itk_shape(path) if lower.endswith(ITK_SUFFIXES) else _nifti_shape(path)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, WrapStructError):
        return None
    return 3 if len(shape) > 2 and shape[2] > 1 else 2


def _nifti_shape(path: Path) -> tuple[int, ...]:
    volume: Any = nib.load(path)
    return tuple(volume.shape)


def read_file(
    case_id: str, path: Path, spatial_dims: int, *, is_label: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The stored array (header scaling applied, channels last) and its 4x4 float64 affine.

    Of a PNG with a palette, a label is the numbers of the colours. As an image it is refused,
    because these numbers are no intensities.

    Raises:
        UserError: begins with ``case_id``; the file is absent, unreadable, truncated, of a kind
            that is not supported, or has a spacing of zero or a singular affine.
    """
    where = f"{case_id}: {path}"
    if not path.is_file():
        raise UserError(
            f"{where}: no such file, expected because it belongs to this case; add it or drop the case"
        )
    lower = path.name.lower()
    kinds = suffixes_for(spatial_dims)
    if not lower.endswith(kinds):
        raise UserError(
            f"{where}: this kind of file cannot be read, expected {', '.join(kinds)} in a {spatial_dims}-D "
            "data set; convert it"
        )
    try:
        if lower.endswith(NIFTI_SUFFIXES):
            stored, affine, pixdim = _read_nifti(path, where)
        elif lower.endswith(ITK_SUFFIXES):
            stored, affine, pixdim = read_itk(path, where)
        else:
            stored, affine, pixdim = _read_picture(path, where, is_label), np.eye(4), np.ones(2)
    except UserError:
        raise
    except (MemoryError, OverflowError) as error:
        raise UserError(
            f"{where}: the file says it is larger than this machine can hold ({error}); mend its header"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"{where}: truncated or damaged gzip ({error}), expected a complete file; copy or download it again"
        ) from None
    except (OSError, ValueError, SyntaxError, ImageFileError, HeaderDataError, WrapStructError) as error:
        reason = " ".join(str(error).split())  # SyntaxError is what Pillow raises for a broken PNG chunk
        raise UserError(
            f"{where}: unreadable or truncated ({reason}), expected a complete file; copy or download it again"
        ) from None
    if not np.issubdtype(stored.dtype, np.number) and stored.dtype != bool:
        raise UserError(f"{where}: found voxels of type {stored.dtype}, expected numbers; convert the file")
    if np.iscomplexobj(stored):
        raise UserError(f"{where}: found complex voxels, expected real numbers; store the magnitude")
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or np.abs(affine[:3, 3]).max() > MAX_OFFSET_MM:
        raise UserError(
            f"{where}: found the offset {first_of(affine[:3, 3])} mm in the affine, expected finite numbers up to "
            f"{MAX_OFFSET_MM:g} mm; write a valid header"
        )
    if not (np.abs(pixdim[:spatial_dims]) <= MAX_SPACING_MM).all() or spacing_mm.max() > MAX_SPACING_MM:
        raise UserError(
            f"{where}: found spacing {first_of(np.abs(pixdim))} mm (affine: {first_of(spacing_mm)} mm), expected at "
            f"most {MAX_SPACING_MM:g} mm; write a valid header"
        )
    if not np.all(pixdim[:spatial_dims]) or not _is_invertible(affine[:3, :3]):
        raise UserError(
            f"{where}: found spacing {first_of(np.abs(pixdim))} mm and affine {affine[:3].tolist()}, expected "
            "positive spacing and an invertible affine; write a valid header"
        )
    return stored, affine


def _is_invertible(axes_mm: np.ndarray) -> bool:
    """Whether the three axes, the columns of a (3, 3) array, span space, whatever their unit."""
    lengths_mm = np.linalg.norm(axes_mm, axis=0)
    if not np.isfinite(lengths_mm).all() or not lengths_mm.all():
        return False
    return bool(abs(np.linalg.det(axes_mm / lengths_mm)) > 1e-6)


def _read_nifti(path: Path, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Array, affine and the header's own pixdim.

    nibabel would silently replace a pixdim of 0 by 1.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as stream:
        start = stream.read(540)
        is_nifti2 = nib.Nifti2Header.may_contain_header(start)
        if not is_nifti2 and not nib.Nifti1Header.may_contain_header(start):
            raise OSError("no NIfTI header")
        kind = nib.Nifti2Image if is_nifti2 else nib.Nifti1Image
        header_class = kind.header_class
        pixdim = header_class(start[: header_class.sizeof_hdr], check=False)["pixdim"][1:4]
        stream.seek(0)
        volume = kind.from_stream(stream)
        _check_size(volume, path, where)
        stored = np.asanyarray(volume.dataobj)
        _read_to_the_end(stream)
    return stored, np.asarray(volume.affine, dtype=np.float64), np.array(pixdim, dtype=np.float64)


def _check_size(volume: nib.Nifti1Image, path: Path, where: str) -> None:
    """Refuses, before anything is allocated, what the file cannot hold or the memory cannot."""
    num_voxels = math.prod(int(size) for size in volume.shape)
    stored_bytes = num_voxels * volume.get_data_dtype().itemsize
    largest = path.stat().st_size * (MAX_GZIP_RATIO if path.name.lower().endswith(".gz") else 1)
    if stored_bytes > largest:
        raise OSError(
            f"the header says {times(volume.shape)} voxels, {stored_bytes} bytes, but the file holds at most {largest}"
        )
    # As stored, and as the float64 that header scaling and the checks make of it.
    needed = stored_bytes + 8.0 * num_voxels
    refuse_beyond_memory(where, f"an image of {times(volume.shape)} voxels", needed, "cut or downsample it")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _read_to_the_end(stream: _Readable) -> None:
    """Reads to the end of a gzip stream, where gzip checks length and checksum."""
    num_bytes = 0
    while chunk := stream.read(2**20):
        num_bytes += len(chunk)
        if num_bytes > MAX_BYTES_BEHIND:
            raise OSError(f"more than {MAX_BYTES_BEHIND // 2**20} MiB lie behind the voxels")


def _read_picture(path: Path, where: str, is_label: bool) -> np.ndarray:
    """Rows, columns and, if there are several, channels of a PNG or JPEG."""
    try:
        with Image.open(path) as picture:
            if picture.mode in PALETTE_MODES and not is_label:
                raise UserError(
                    f"{where}: found a palette, whose numbers are no intensities, expected grey or RGB; convert the "
                    "picture"
                )
            width, height = picture.size
            needed = 16.0 * width * height * len(picture.getbands())
            refuse_beyond_memory(where, f"an image of {width}x{height} pixels", needed, "downsample it")
            return np.asarray(picture)
    except Image.DecompressionBombError as error:
        raise OSError(str(error)) from None


def times(shape: tuple[int, ...]) -> str:
    """A shape as text: ``(3, 4)`` gives ``3x4``."""
    return "x".join(str(size) for size in shape)


def first_of(values: np.ndarray, num_shown: int = 5) -> str:
    """The first values, and how many more there are."""
    shown = ", ".join(f"{value:g}" for value in values[:num_shown])
    return f"{shown} and {len(values) - num_shown} more" if len(values) > num_shown else shown
