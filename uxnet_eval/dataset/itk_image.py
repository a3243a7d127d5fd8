"""MetaImage (``.mha``) and NRRD files, read by SimpleITK.

ITK's millimetres point left, posterior and superior; this project's right, anterior and superior.
"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from search_space.errors import UserError

from ..runs.memory import refuse_beyond_memory

ITK_SUFFIXES = (".mha", ".nrrd")

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def itk_shape(path: Path) -> tuple[int, ...]:
    """Voxels along the spatial axes, from the header alone; raises OSError if it is unreadable."""
    return tuple(int(size) for size in _header(path).GetSize())


def read_itk(path: Path, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The array (*S) or, if a voxel has several numbers, (*S, C); the 4x4 affine; the spacing.

    Args:
        path: of the file.
        where: begins an error message.

    Raises:
        UserError: the image does not fit the memory.
        OSError: the file is unreadable or truncated.
    """
    reader = _header(path)
    size, num_components = reader.GetSize(), reader.GetNumberOfComponents()
    refuse_beyond_memory(
        where,
        f"an image of {'x'.join(map(str, size))} voxels",
        16.0 * math.prod(size) * num_components,  # as stored, and as the float64 of the checks
        "cut or downsample it",
    )
    try:
        volume = reader.Execute()
    except RuntimeError as error:
        raise OSError(_reason(error)) from None
    stored = _simpleitk().GetArrayFromImage(volume)  # axes reversed, components last
    axes = [*range(len(size) - 1, -1, -1), *range(len(size), stored.ndim)]
    return stored.transpose(axes), _affine(volume), np.array(volume.GetSpacing(), dtype=np.float64)


def _affine(volume: Any) -> np.ndarray:
    """Voxel to mm, right, anterior and superior; a fourth axis is left out."""
    num_axes = len(volume.GetSize())
    dims = min(num_axes, 3)
    directions = np.reshape(volume.GetDirection(), (num_axes, num_axes))
    affine = np.eye(4)
    affine[:dims, :dims] = directions[:dims, :dims] * np.array(volume.GetSpacing()[:dims])
    affine[:dims, 3] = volume.GetOrigin()[:dims]
    return _LPS_TO_RAS @ affine


def _header(path: Path) -> Any:
    """A SimpleITK reader that has read the header."""
    sitk = _simpleitk()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what matters is raised
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if path.name.lower().endswith(".nrrd") else "MetaImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise OSError(_reason(error)) from None
    return reader


def _simpleitk() -> Any:
    try:
        import SimpleITK
    except ModuleNotFoundError:
        raise UserError(f"{' and '.join(ITK_SUFFIXES)} files need SimpleITK; pip install SimpleITK") from None
    return SimpleITK


def _reason(error: RuntimeError) -> str:
    """ITK's message without its source files and addresses, shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1].rpartition("): ")[2] if lines else ""
    if not last or last.startswith("Reason:"):  # errno, which says nothing of the file
        last = "the header is damaged or voxels are missing"
    return textwrap.shorten(last, 120)
