"""A random scan of three organs in a body, and its label: what the demo data set is made of.

Array legend: C channels, *S the spatial axes, u the place of a voxel relative to the body (d, *S),
about -1 to 1 along each axis whatever the size in voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

CLASS_NAMES = ("background", "large organ", "medium organ", "small organ")
MAX_CHANNELS = 4

# Mean intensity of air, body, large, medium, small, fat in each channel. Noise, texture and bias
# field are wider than the gaps between organs, and in the first channel fat is as bright as the
# medium organ.
_INTENSITIES = np.array(
    [
        [0.03, 0.43, 0.62, 0.78, 0.70, 0.80],
        [0.03, 0.55, 0.43, 0.55, 0.78, 0.70],
        [0.03, 0.50, 0.38, 0.62, 0.64, 0.36],
        [0.03, 0.42, 0.56, 0.70, 0.34, 0.75],
    ]
)
_AIR, _BODY, _LARGE, _MEDIUM, _SMALL, _FAT = range(6)
# Grain of each tissue's texture (standard deviation of a Gaussian, voxels) and its amplitude.
_GRAIN_VOXELS = (1.0, 1.8, 2.4, 0.7, 1.2, 1.0)
_AMPLITUDE = (0.01, 0.06, 0.05, 0.09, 0.04, 0.07)

_LARGE_CENTRE, _LARGE_RADII = np.array([-0.32, 0.08, 0.0]), np.array([0.38, 0.48, 0.62])
_MEDIUM_CENTRE, _MEDIUM_RADII = np.array([0.42, -0.22, 0.05]), np.array([0.22, 0.30, 0.42])
_SMALL_DIRECTION, _SMALL_RADII = np.array([-0.35, 0.85, 0.25]), np.array([0.20, 0.20, 0.28])
_DOUBLE_RADII = np.array([0.14, 0.14, 0.20])


@dataclass(frozen=True)
class Scan:
    """``image`` int16 (C, *S), ``label`` uint8 (*S) with the class indices of ``CLASS_NAMES``."""

    image: np.ndarray
    label: np.ndarray


def draw_scan(
    rng: np.random.Generator, size_voxels: tuple[int, ...], num_channels: int, slices_per_voxel: int = 1
) -> Scan:
    """A random scan.

    Args:
        rng: the only source of chance; every scan takes its own.
        size_voxels: (*S), two or three axes.
        num_channels: 1 to ``MAX_CHANNELS``; the channels share the anatomy and differ in contrast.
        slices_per_voxel: odd; a voxel's last axis is this many times as long as the others, and the
            intensity is the mean over it (partial volume) while the label is that of its centre.
    """
    fine_size = (*size_voxels[:-1], size_voxels[-1] * slices_per_voxel)
    tissue, label = _draw_anatomy(rng, fine_size)
    channels = []
    for intensities in _INTENSITIES[:num_channels]:
        image = intensities[tissue]
        for kind in range(len(intensities)):
            image += (tissue == kind) * _AMPLITUDE[kind] * _smooth_noise(rng, fine_size, _GRAIN_VOXELS[kind])
        image = ndimage.gaussian_filter(image, 0.5)  # the scanner's point spread
        image *= np.exp(0.18 * _smooth_noise(rng, fine_size, 0.35 * np.array(fine_size)))  # bias field
        image = image.reshape(*size_voxels, slices_per_voxel).mean(axis=-1)
        noise = rng.normal(0, 0.05, (2, *size_voxels))
        magnitude = np.hypot(image + noise[0], noise[1])  # Rician, as in a magnitude image
        gain = np.exp(rng.uniform(np.log(300), np.log(1500)))  # scanners do not share a unit
        channels.append(np.rint(gain * magnitude).clip(0, 32767).astype(np.int16))
    return Scan(np.stack(channels), label[..., slices_per_voxel // 2 :: slices_per_voxel].astype(np.uint8))


def _draw_anatomy(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Tissue index and class index of each voxel, both (*S)."""
    dims = len(size)
    u = _places(rng, size)

    def around(value: np.ndarray, spread: float) -> np.ndarray:
        return value[:dims] + rng.normal(0, spread, dims)

    def resized(radii: np.ndarray) -> np.ndarray:
        return radii[:dims] * np.exp(rng.normal(0, 0.10, dims))

    medium_centre, medium_radii = around(_MEDIUM_CENTRE, 0.07), resized(_MEDIUM_RADII)
    direction = around(_SMALL_DIRECTION, 0.2)
    direction /= np.linalg.norm(direction)
    small_radii = resized(_SMALL_RADII)
    # The small organ rests on the medium one; only that tells it from its doubles elsewhere.
    small_centre = medium_centre + direction * (medium_radii + 0.75 * small_radii)

    body = _distance(u, np.zeros(dims), np.array([0.92, 0.84, 1.15])[:dims])
    large = _inside(u, around(_LARGE_CENTRE, 0.07), resized(_LARGE_RADII))
    large &= ~_inside(u, around(np.array([-0.10, -0.42, 0.1]), 0.05), resized(np.array([0.3, 0.25, 0.6])))
    medium = _inside(u, medium_centre, medium_radii)
    hilum = medium_centre - medium_radii * np.array([1.0, 0.0, 0.0])[:dims]
    medium &= ~_inside(u, hilum, 0.45 * medium_radii)
    small = _inside(u, small_centre, small_radii)

    tissue = np.full(size, _AIR)
    tissue[body < 1] = _FAT
    tissue[body < 0.9] = _BODY
    label = np.zeros(size, dtype=np.int64)
    for index, (kind, mask) in enumerate(((_LARGE, large), (_MEDIUM, medium), (_SMALL, small)), start=1):
        tissue[mask] = kind
        label[mask] = index
    _add_doubles(rng, u, body, tissue, label)
    return tissue, label


def _add_doubles(
    rng: np.random.Generator, u: np.ndarray, body: np.ndarray, tissue: np.ndarray, label: np.ndarray
) -> None:
    """Adds blobs that look like organs to ``tissue``, away from organs and from each other."""
    dims = label.ndim
    taken = ndimage.binary_dilation(label > 0, iterations=2) | (body > 0.88)
    for kind in (_LARGE, _MEDIUM, _MEDIUM, _SMALL, _SMALL, _LARGE, _MEDIUM):
        radii = _DOUBLE_RADII[:dims] * np.exp(rng.normal(0, 0.2, dims))
        for centre in rng.uniform(-0.8, 0.8, (20, dims)):  # 20 tries, then this double is left out
            blob = _inside(u, centre, radii)
            if blob.any() and not (blob & taken).any():
                tissue[blob] = kind
                taken |= ndimage.binary_dilation(blob)
                break


def _places(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """The place of each voxel, u (d, *S), after an affine and a smooth random deformation."""
    dims = len(size)
    axes = [(np.arange(n) + 0.5) / n * 2 - 1 for n in size]
    u = np.stack(np.meshgrid(*axes, indexing="ij"))
    angle = rng.normal(0, np.deg2rad(12))
    x, y = u[0].copy(), u[1].copy()
    u[0], u[1] = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    per_axis = (dims, *(1,) * dims)
    u = (u - rng.normal(0, 0.07, per_axis)) * np.exp(rng.normal(0, 0.05, per_axis))
    for axis in range(dims):
        u[axis] += 0.05 * _smooth_noise(rng, size, 0.14 * np.array(size))
    return u


def _distance(u: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Distance (*S) from ``centre`` in units of ``radii``: 1 on the ellipsoid's surface."""
    per_axis = (len(radii), *(1,) * len(radii))
    return np.sqrt((((u - centre.reshape(per_axis)) / radii.reshape(per_axis)) ** 2).sum(axis=0))


def _inside(u: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    return _distance(u, centre, radii) < 1


def _smooth_noise(
    rng: np.random.Generator, size: tuple[int, ...], sigma_voxels: float | np.ndarray
) -> np.ndarray:
    """Gaussian noise (*S) smoothed to ``sigma_voxels``, of standard deviation 1."""
    noise = ndimage.gaussian_filter(rng.normal(size=size), sigma_voxels, mode="reflect")
    return (noise - noise.mean()) / noise.std()
