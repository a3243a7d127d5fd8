"""A DICOM series in, a DICOM segmentation out, in the geometry of the series.

Legend: X Y Z the voxels along columns, rows and slices of the series. DICOM's millimetres point
left, posterior and superior; this project's right, anterior and superior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from search_space.errors import UserError

from ..extras import extra
from .label_map import replacing_output

SUFFIX = ".seg.dcm"


@dataclass(frozen=True)
class DicomSeries:
    """One scan.

    Attributes:
        case_id: the folder's name.
        files: one for each slice, in the order of Z.
        image: (1, X, Y, Z) float32, with the rescaling that the files ask for.
        affine: 4x4, voxel to mm (right, anterior, superior).
    """

    case_id: str
    files: tuple[Path, ...]
    image: np.ndarray
    affine: np.ndarray


def read_series(folder: Path, series_uid: str | None = None) -> DicomSeries:
    """The series of a folder.

    Args:
        folder: of DICOM files, one for each slice.
        series_uid: which one, if there are several.

    Raises:
        UserError: a package is missing; the folder holds no series, several of which none is named,
            or not the one named; a file holds several slices; the slices are not evenly spaced.
    """
    sitk, pydicom = (extra(name, "dicom", str(folder)) for name in ("SimpleITK", "pydicom"))
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder, expected one of DICOM files; mend the path")
    found = {
        uid: tuple(map(Path, sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)))
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    }
    named: dict[str, tuple[str, tuple[Path, ...]]] = {}
    for files in found.values():
        header = pydicom.dcmread(files[0], stop_before_pixels=True)
        named[str(header.SeriesInstanceUID)] = (str(header.get("SeriesDescription", "")), files)
    if not named:
        raise UserError(f"{folder}: holds no DICOM series; mend the path (subfolders are not looked through)")
    if series_uid is None and len(named) > 1:
        listed = "; ".join(f"{uid} ({text}, {len(files)} files)" for uid, (text, files) in named.items())
        raise UserError(f"{folder}: holds {len(named)} series, choose one with --series: {listed}")
    if series_uid is not None and series_uid not in named:
        raise UserError(f"{folder}: holds no series {series_uid}; it holds {', '.join(named)}")
    files = named[series_uid or next(iter(named))][1]
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    for file, header in zip(files, headers, strict=True):
        if int(header.get("NumberOfFrames", 1)) > 1:
            raise UserError(
                f"{file}: holds several slices in one file, expected one for each; convert the series"
            )
    _check_spacing(folder, headers)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    try:
        volume = reader.Execute()
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder}: the series cannot be read ({reason}); copy it again") from None
    if volume.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(f"{folder}: holds colour images, expected grey values; choose another series")
    array = sitk.GetArrayFromImage(volume).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(volume.GetDirection(), (3, 3)) * np.array(volume.GetSpacing())
    affine[:3, 3] = volume.GetOrigin()
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return DicomSeries(folder.resolve().name, files, array.transpose(2, 1, 0)[None], affine)


def _check_spacing(folder: Path, headers: Sequence[Any]) -> None:
    """Raises if a slice is missing: gaps between neighbours differ by more than a twentieth."""
    if len(headers) < 2:
        return
    positions = np.array([[float(x) for x in header.ImagePositionPatient] for header in headers])
    steps_mm = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    if np.abs(steps_mm - np.median(steps_mm)).max() > 0.05 * np.median(steps_mm):
        raise UserError(
            f"{folder}: its slices lie {steps_mm.min():.2f} to {steps_mm.max():.2f} mm apart, expected even steps; add "
            "the missing slices or resample the series"
        )


def write_segmentation(
    path: Path, label: np.ndarray, series: DicomSeries, class_names: Sequence[str]
) -> None:
    """Writes a DICOM segmentation: a segment for each foreground class, numbered from 1.

    Args:
        path: of the file; its folder exists.
        label: class indices (X, Y, Z).
        series: that it belongs to.
        class_names: of all classes, the background first.

    Raises:
        UserError: a package is missing, or the label holds no foreground, which DICOM cannot store.
        OutputError: the file cannot be written.
    """
    highdicom, pydicom = (extra(name, "dicom", str(path)) for name in ("highdicom", "pydicom"))
    if not label.any():
        raise UserError(
            f"{series.case_id}: the label map holds no foreground; a DICOM segmentation cannot be empty"
        )
    codes = pydicom.sr.codedict.codes
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="UXNet search", version=_version(), family=codes.DCM.ArtificialIntelligence
    )
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.AnatomicalStructure,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(class_names[1:], start=1)
    ]
    sources = [pydicom.dcmread(file) for file in series.files]
    segmentation = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=np.ascontiguousarray(label.transpose(2, 1, 0)).astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=int(sources[0].get("SeriesNumber") or 0) + 1000,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="UXNet search",
        manufacturer_model_name="uxnet predict",
        software_versions=_version(),
        device_serial_number="0",
        series_description="UXNet segmentation",
    )
    with replacing_output(path) as part:
        segmentation.save_as(part)


def _version() -> str:
    return version("uxnet-search")
