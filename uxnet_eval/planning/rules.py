"""Makes the plan (spacing, patch, strides, normalisation, batch) from fingerprint and memory.

The rules are nnU-Net's (Isensee et al., Nature Methods 2021), adapted to a supernet;
:func:`make_plan` lists them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch

from search_space import SearchSpaceConfig
from search_space.errors import UserError

from ..config.commented_yaml import commented_yaml, write_run_config
from ..config.plan import Plan
from ..runs.memory import available_bytes
from .fingerprint import Fingerprint
from .mirroring import mirror_axes

__all__ = [
    "commented_yaml",
    "free_memory_gib",
    "make_plan",
    "pooling_strides",
    "supernet_bytes",
    "target_spacing_mm",
    "write_run_config",
]

MIN_AXIS_VOXELS = 4
"""An axis is pooled only as long as this much of the patch is left of it."""

MAX_LEVELS = 5
"""The paper's."""

ANISOTROPY = 3.0
"""Ratio of spacings (and, the other way round, of voxel counts) from which a data set counts as
anisotropic."""

MIN_BATCH_SIZE = 2
"""Smallest batch: patches that must fit the memory together."""

MAX_BATCH_SHARE = 0.05
"""A batch holds at most this share of the data set's voxels (nnU-Net's rule), unless that is less
than two."""

MAX_PATCH_VOXELS = 160**3
"""A larger patch slows the search down more than it helps, however much memory there is."""

# Memory of one training step of the folded supernet. Measured in float32 with 3, 4 and 5 levels, 8
# and 16 channels, 2-D and 3-D: peak memory grows by 69 to 85 bytes for each value of each node's
# feature map (35 to 48 of them are activations kept for the backward pass); with bfloat16 by 47.
# The plan counts on float32.
BYTES_PER_FEATURE = 88
BYTES_PER_CLASS = 24
"""For each voxel and class: logits, probabilities, one-hot label and their gradients, in
float32."""
BYTES_PER_CHANNEL = 8
FIXED_BYTES = 1.5 * 2**30
"""Libraries, weights, their gradients and the optimizer's moments."""

USABLE_SHARE = 0.8
"""Share of the free memory that a search may use; the rest is for prepared cases and others."""


def make_plan(
    fingerprint: Fingerprint,
    memory_gib: float | None = None,
    *,
    base_channels: int = 8,
    max_batch_size: int = 4,
    max_patch_voxels: int = MAX_PATCH_VOXELS,
    coarser: float = 1.0,
) -> Plan:
    """The plan for a data set and a memory.

    - Target spacing: the median of each axis. In an anisotropic set (the largest median spacing
      more than three times the smallest, and that axis with fewer than a third of the voxels of any
      other) the thick axis takes the 10th percentile, but stays the thickest.
    - Patch: starts from the median shape at target spacing (nnU-Net: from a cube), and the axis
      with most voxels shrinks until two patches fit the memory, see :func:`supernet_bytes`. It is
      padded up to a multiple of the product of the strides.
    - Strides: see :func:`pooling_strides`. Anisotropic volumes pool late along their thick axis.
    - Normalisation: ``ct`` if every channel's name says CT: clipped to the 0.5 and 99.5 percentiles
      of the foreground, then scaled by its mean and SD, averaged over the channels. Otherwise
      ``zscore``.
    - Batch: as many patches as the memory holds, at least 2, at most ``max_batch_size`` and 5 % of
      all voxels.
    - Mirroring: along the axes along which no two classes keep their order, see
      :mod:`uxnet_eval.planning.mirroring`.

    Not taken over: cropping to the non-zero region, and the cascade of two resolutions.

    Args:
        fingerprint: of the data set.
        memory_gib: what the search may use; None: most of what is free on the GPU, or on the
            machine without one.
        base_channels: channels of level 0 that the patch must fit with.
        max_batch_size: upper bound of the batch.
        max_patch_voxels: upper bound of the patch.
        coarser: no axis is finer than the finest target spacing times this.

    Raises:
        UserError: if the memory is too small for any patch.
    """
    if memory_gib is None:
        memory_gib = free_memory_gib()
    spacing_mm = target_spacing_mm(fingerprint)
    finest = coarser * min(spacing_mm)
    spacing_mm = tuple(round(max(spacing, finest), 4) for spacing in spacing_mm)
    median = [
        max(1, round(mm / spacing))
        for mm, spacing in zip(fingerprint.extent_mm.median, spacing_mm, strict=True)
    ]
    num_channels, num_classes = len(fingerprint.channel_names), fingerprint.num_classes
    patch = [max(size, 2 * MIN_AXIS_VOXELS) if size == max(median) else size for size in median]
    while True:
        strides = pooling_strides(patch, spacing_mm)
        divisor = _products(strides, len(patch))
        padded = tuple(math.ceil(size / d) * d for size, d in zip(patch, divisor, strict=True))
        sample_bytes = supernet_bytes(padded, strides, base_channels, num_channels, num_classes)
        fixed = FIXED_BYTES + MIN_BATCH_SIZE * sample_bytes
        if fixed <= memory_gib * 2**30 and math.prod(padded) <= max_patch_voxels:
            break
        axis = padded.index(max(padded))
        patch[axis] = padded[axis] - divisor[axis]
        if patch[axis] < 2 * MIN_AXIS_VOXELS:
            raise UserError(
                f"{fingerprint.name}: {memory_gib:.1f} GiB are too little for a patch of {list(padded)} voxels, which "
                f"needs {fixed / 2**30:.1f}; give more memory, or fewer base channels than {base_channels}"
            )
    all_voxels = math.prod(median) * fingerprint.num_cases
    batch_size = min(
        int((memory_gib * 2**30 - FIXED_BYTES) / sample_bytes),
        max_batch_size,
        max(MIN_BATCH_SIZE, int(MAX_BATCH_SHARE * all_voxels / math.prod(padded))),
    )
    is_ct = all(_says_ct(name) for name in fingerprint.channel_names)
    return Plan(
        spatial_dims=fingerprint.spatial_dims,
        spacing_mm=spacing_mm,
        patch_size=padded,
        strides=strides,
        batch_size=batch_size,
        mirror_axes=mirror_axes(fingerprint),
        normalization="ct" if is_ct else "zscore",
        intensity=_ct_intensity(fingerprint) if is_ct else None,
    )


def target_spacing_mm(fingerprint: Fingerprint) -> tuple[float, ...]:
    """The spacing that all cases are resampled to; see :func:`make_plan` for the rule."""
    spacing = list(fingerprint.spacing_mm.median)
    shape = fingerprint.shape_voxels.median
    thick = spacing.index(max(spacing))
    others = [axis for axis in range(len(spacing)) if axis != thick]
    if spacing[thick] > ANISOTROPY * min(spacing) and all(
        shape[thick] * ANISOTROPY < shape[axis] for axis in others
    ):
        finer = fingerprint.spacing_mm.percentile_10[thick]
        spacing[thick] = max(finer, *(spacing[axis] for axis in others))
    return tuple(round(value, 4) for value in spacing)


def pooling_strides(
    patch: Sequence[int], spacing_mm: Sequence[float], max_levels: int = MAX_LEVELS
) -> tuple[tuple[int, ...], ...]:
    """The stride of each axis from one level to the next: 2 where an axis is pooled, else 1.

    An axis can be pooled while 4 voxels of the patch remain of it; of these axes, the finest and
    those with less than twice its spacing are. A single one is pooled alone only while 6 voxels
    remain. There is at least one level below the first.

    Args:
        patch: voxels along each axis.
        spacing_mm: along each axis.
        max_levels: of the grid.
    """
    size, spacing = list(patch), list(spacing_mm)
    strides: list[tuple[int, ...]] = []
    while len(strides) < max_levels - 1:
        can = [axis for axis, voxels in enumerate(size) if voxels >= 2 * MIN_AXIS_VOXELS]
        pooled = [axis for axis in can if spacing[axis] < 2 * min(spacing[other] for other in can)]
        if not pooled or (strides and len(pooled) == 1 and size[pooled[0]] < 3 * MIN_AXIS_VOXELS):
            break
        strides.append(tuple(2 if axis in pooled else 1 for axis in range(len(size))))
        for axis in pooled:
            size[axis], spacing[axis] = math.ceil(size[axis] / 2), 2 * spacing[axis]
    return tuple(strides)


def supernet_bytes(
    patch: Sequence[int],
    strides: Sequence[Sequence[int]],
    base_channels: int,
    num_channels: int,
    num_classes: int,
) -> float:
    """Memory of one patch in a training step of the folded supernet, without the fixed part.

    Level j of L has L - j nodes with C_j channels, so there are F = sum_j (L - j) C_j /
    prod(strides up to j) values of feature maps for each voxel of the patch; a voxel takes F *
    BYTES_PER_FEATURE + classes * BYTES_PER_CLASS + channels * BYTES_PER_CHANNEL.
    """
    config = SearchSpaceConfig(base_channels=base_channels)  # for its rule of channels per level
    num_levels = len(strides) + 1
    features, shrunk = 0.0, 1.0
    for level in range(num_levels):
        if level:
            shrunk *= math.prod(strides[level - 1])
        features += (num_levels - level) * config.channels(level) / shrunk
    per_voxel = (
        features * BYTES_PER_FEATURE + num_classes * BYTES_PER_CLASS + num_channels * BYTES_PER_CHANNEL
    )
    return math.prod(patch) * per_voxel


def free_memory_gib() -> float:
    """Most of what is free now: on the first GPU, or for this process if there is none."""
    if torch.cuda.is_available():
        return USABLE_SHARE * torch.cuda.mem_get_info()[0] / 2**30
    return USABLE_SHARE * available_bytes() / 2**30


def _products(strides: Sequence[Sequence[int]], dims: int) -> list[int]:
    """Per axis, the product of its strides."""
    return [math.prod(stride[axis] for stride in strides) for axis in range(dims)]


def _says_ct(channel_name: str) -> bool:
    """CT, CTA, CBCT or ct as a word of its own; not T1ct or contrast."""
    return re.search(r"(?<![a-z0-9])(cb)?cta?(?![a-z])", channel_name.lower()) is not None


def _ct_intensity(fingerprint: Fingerprint) -> dict[str, float]:
    channels = fingerprint.intensity
    values = {
        "lower": [channel.percentile_0_5 for channel in channels],
        "upper": [channel.percentile_99_5 for channel in channels],
        "mean": [channel.mean for channel in channels],
        "std": [channel.std for channel in channels],
    }
    return {name: round(sum(numbers) / len(numbers), 4) for name, numbers in values.items()}
