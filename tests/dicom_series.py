"""DICOM series made from volumes, and DICOM segmentations read back by pydicom and by highdicom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TILT = np.deg2rad(20)


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a series lie, in DICOM's millimetres (left, posterior, superior).

    ``row`` and ``column`` are the directions along X and Y; the spacing is along X, Y and Z.
    """

    row: tuple[float, float, float]
    column: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    @property
    def normal(self) -> np.ndarray:
        """Direction along Z."""
        return np.cross(self.row, self.column)

    @property
    def affine(self) -> np.ndarray:
        """Voxel to right, anterior, superior."""
        affine = np.eye(4)
        for axis, direction in enumerate((self.row, self.column, self.normal)):
            affine[:3, axis] = np.array(direction) * self.spacing_mm[axis]
        affine[:3, 3] = self.origin_mm
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine

    @classmethod
    def of_affine(cls, affine: np.ndarray) -> Geometry:
        """That of a NIfTI file whose axes are right-handed and at right angles."""
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
        spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
        row, column, slices = (lps[:3, :3] / spacing_mm).T
        np.testing.assert_allclose(np.cross(row, column), slices, atol=1e-6)
        return cls(tuple(row), tuple(column), tuple(spacing_mm), tuple(lps[:3, 3]))  # type: ignore[arg-type]


OBLIQUE = Geometry((1.0, 0.0, 0.0), (0.0, np.cos(TILT), np.sin(TILT)), (1.1, 0.9, 1.4), (-12.0, 7.0, 30.0))


def write_series(
    folder: Path, volume: np.ndarray, geometry: Geometry = OBLIQUE, gap_after: int | None = None
) -> str:
    """A volume (X, Y, Z) as MR slices in a shuffled order of names; its series UID."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    folder.mkdir(exist_ok=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for z in range(volume.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = "p1", "Test^Case", "", ""
        data.StudyID, data.StudyDate, data.StudyTime, data.AccessionNumber = "1", "20260101", "120000", ""
        data.ReferringPhysicianName, data.PositionReferenceIndicator = "", ""
        data.Modality, data.Manufacturer, data.SeriesDescription = "MR", "test", "T1"
        data.SeriesNumber, data.InstanceNumber = 3, z + 1
        data.ImageOrientationPatient = [_decimal(x) for x in (*geometry.row, *geometry.column)]
        shift = z + (1 if gap_after is not None and z > gap_after else 0)
        position = np.array(geometry.origin_mm) + geometry.normal * geometry.spacing_mm[2] * shift
        data.ImagePositionPatient = [_decimal(x) for x in position]
        data.PixelSpacing = [_decimal(geometry.spacing_mm[axis]) for axis in (1, 0)]
        data.SliceThickness = _decimal(geometry.spacing_mm[2])
        data.Rows, data.Columns = volume.shape[1], volume.shape[0]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = np.ascontiguousarray(volume[:, :, z].T).astype(np.uint16).tobytes()
        data.save_as(folder / f"{(7 * z) % 1009:04d}_{series[-4:]}.dcm", enforce_file_format=True)
    return str(series)


def _decimal(value: float) -> float:
    """As a DICOM file can hold it: 16 characters."""
    return round(float(value), 10)


def read_back(
    path: Path, shape: tuple[int, ...], geometry: Geometry = OBLIQUE
) -> tuple[np.ndarray, list[str], Any]:
    """The label (X, Y, Z) of a DICOM segmentation, each frame put where its position says; names; the data set."""
    import pydicom

    data = pydicom.dcmread(path)
    label = np.zeros(shape, dtype=int)
    for frame, where in zip(data.pixel_array, data.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(where.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        z = (position - geometry.origin_mm) @ geometry.normal / geometry.spacing_mm[2]
        assert abs(z - round(z)) < 1e-3
        number = where.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        label[:, :, round(z)][frame.T > 0] = number
    return label, [segment.SegmentLabel for segment in data.SegmentSequence], data
