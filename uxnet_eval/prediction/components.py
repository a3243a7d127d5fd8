"""Cleaning up a label: of each class, the largest connected component."""

from __future__ import annotations

import numpy as np
from skimage.measure import label as connected_components
from skimage.measure import regionprops


def largest_components(label: np.ndarray) -> np.ndarray:
    """A copy of a label in which each foreground class keeps only its largest component.

    Voxels that share a face, an edge or a corner are connected. Of components of one size the first
    in the order of the array stays.

    Args:
        label: class indices (*S), 0 is the background.
    """
    cleaned = label.copy()
    for region in regionprops(
        label
    ):  # of all voxels of a class: its bounding box spares the rest of the volume
        box = region.slice
        components = connected_components(label[box] == region.label, connectivity=label.ndim)
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        cleaned[box][(components > 0) & (components != sizes.argmax())] = 0
    return cleaned
