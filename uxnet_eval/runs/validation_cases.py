"""The cases of one validation, as overlays of the best, the median and the worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from nibabel.affines import voxel_sizes
from torch import Tensor

from .overlay_picture import Plane, cut_planes, paint_planes
from .overlays import Overlay, best_median_worst, write_overlays

NUM_FILM_CASES = 3


class ValidationCases:
    """The cases of one validation, of which only their planes are kept.

    Args:
        spacing_mm: of the network's grid, for :meth:`add`.
    """

    def __init__(self, spacing_mm: Sequence[float] = ()) -> None:
        self._spacing_mm = tuple(spacing_mm)
        self._cases: list[tuple[str, float | None, list[Plane]]] = []

    def add(self, case_id: str, image: Tensor, reference: Tensor, prediction: Tensor, dice: Tensor) -> None:
        """Notes one case.

        Args:
            case_id: of the case.
            image: (1, C, *S); its first channel is shown.
            reference: class indices, (1, 1, *S).
            prediction: class indices, (1, 1, *S).
            dice: a scalar; NaN if no foreground class occurs.
        """
        gray, true, found = (volume[0, 0].cpu().numpy() for volume in (image.float(), reference, prediction))
        value = None if torch.isnan(dice) else float(dice)
        self._cases.append((case_id, value, cut_planes(gray, true, found, self._spacing_mm)))

    def add_stored(
        self,
        case_id: str,
        image: np.ndarray,
        reference: np.ndarray,
        prediction: np.ndarray,
        affine: np.ndarray,
    ) -> None:
        """Notes one case as its file stores it, in any orientation; :meth:`rank` tells its Dice.

        Args:
            case_id: of the case.
            image: (C, *S); its first channel is shown.
            reference: class indices, (*S).
            prediction: class indices, (*S).
            affine: 4x4, voxel to mm.
        """
        volumes, spacing_mm = [image[0], reference, prediction], voxel_sizes(affine)[: reference.ndim]
        if reference.ndim == 3:
            to_ras = nib.orientations.io_orientation(affine)
            volumes = [nib.orientations.apply_orientation(volume, to_ras) for volume in volumes]
            spacing_mm = spacing_mm[np.argsort(to_ras[:, 0])]
        gray, true, found = volumes
        self._cases.append((case_id, None, cut_planes(gray, true, found, spacing_mm.tolist())))

    def rank(self, dices: Mapping[str, float]) -> None:
        """Sets the Dice of the cases by case id; NaN where no foreground class occurs."""
        self._cases = [
            (case_id, None if np.isnan(dices[case_id]) else float(dices[case_id]), planes)
            for case_id, _, planes in self._cases
        ]

    def save(self, folder: Path, class_names: Sequence[str], what: str) -> None:
        """Writes the best, the median and the worst case to ``overlays/`` of an output folder."""
        ranks = best_median_worst([dice for _, dice, _ in self._cases])
        overlays = [
            Overlay(self._cases[at][0], rank, self._cases[at][1], paint_planes(self._cases[at][2]))
            for rank, at in ranks.items()
        ]
        write_overlays(folder, overlays, class_names, what)

    def film(self) -> dict[str, np.ndarray]:
        """Pictures, uint8 (H, W, 3), of the first cases by case id: always the same cases."""
        return {case_id: paint_planes(planes) for case_id, _, planes in self._cases[:NUM_FILM_CASES]}
