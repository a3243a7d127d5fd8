"""The random part: patches cut from preprocessed cases, then changed in geometry and intensity.

Legend: C channels, K classes, *S a case's spatial axes, *P the patch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    MapTransform,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    Randomizable,
    RandScaleIntensityd,
    RandScaleIntensityFixedMeand,
    Transform,
)

from ..config.plan import Plan

FOREGROUND_PROBABILITY = 0.5
"""Share of the patches that are centred on a foreground voxel."""

MAX_VOXELS_PER_CLASS = 10_000
"""As many candidates for a patch's centre are kept of each class."""

ANISOTROPY = 3.0
"""With a larger ratio of spacings, patches are turned and zoomed within the thin axes only (as in
nnU-Net)."""


class ForegroundVoxels(Transform):
    """Adds ``foreground``: flat int32 indices of voxels of each class 1..K-1, evenly chosen."""

    def __init__(self, num_classes: int):
        self.num_classes = num_classes

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        label = item["label"]
        label = (label.as_tensor() if isinstance(label, MetaTensor) else label).reshape(-1)
        # One pass over the case; the rest looks at the foreground alone. MONAI's ClassesToIndices
        # makes one for each class and lists the background too.
        labelled = torch.nonzero(label)[:, 0]
        classes = label[labelled]
        foreground = []
        for k in range(1, self.num_classes):
            voxels = labelled[classes == k]
            foreground.append(voxels[evenly_spaced(len(voxels), MAX_VOXELS_PER_CLASS)].to(torch.int32))
        return {**item, "foreground": foreground}


def evenly_spaced(count: int, most: int) -> torch.Tensor:
    """At most ``most`` of the indices 0 .. ``count`` - 1, from the first to the last.

    Above 2**24 they are rounded as float32 is.
    """
    places = torch.linspace(0, max(count - 1, 0), min(count, most)).round().long()
    return places.clamp(max=count - 1)  # rounding may go beyond it


class PlainTensors(MapTransform):
    """MetaTensors as plain tensors, without copies.

    Metadata would slow every further step down.

    MONAI's own trace of what was done (``image_transforms``) goes too.
    """

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        item = {key: value for key, value in item.items() if not str(key).endswith("_transforms")}
        for key in self.key_iterator(item):
            if isinstance(item[key], MetaTensor):
                item[key] = item[key].as_tensor()
        return item


class RandomPatch(Randomizable, Transform):
    """Cuts one patch.

    In half of the draws its centre is a voxel of a class, which is chosen evenly from those
    present.

    Takes ``image`` (C, *S), ``label`` (1, *S) and ``foreground`` of :class:`ForegroundVoxels`;
    gives ``image`` (C, *P) and ``label`` (1, *P) float32. An axis shorter than the patch lies at
    random within it, padded with ``padding_value`` and background.
    """

    def __init__(self, patch_size: tuple[int, ...], padding_value: float = 0.0):
        self.patch_size = patch_size
        self.padding_value = padding_value

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        shape = tuple(item["image"].shape[1:])
        starts = [
            int(self.R.randint(min(size - patch, 0), max(size - patch, 0) + 1))
            for size, patch in zip(shape, self.patch_size, strict=True)
        ]
        present = [voxels for voxels in item["foreground"] if len(voxels)]
        if present and self.R.uniform() < FOREGROUND_PROBABILITY:
            voxels = present[self.R.randint(len(present))]
            centre = np.unravel_index(int(voxels[self.R.randint(len(voxels))]), shape)
            for axis, (size, patch) in enumerate(zip(shape, self.patch_size, strict=True)):
                if size > patch:
                    starts[axis] = int(np.clip(centre[axis] - patch // 2, 0, size - patch))
        return {
            "image": self._cut(item["image"], starts, self.padding_value),
            "label": self._cut(item["label"], starts, 0.0),
        }

    def _cut(self, array: torch.Tensor, starts: list[int], value: float) -> torch.Tensor:
        box, margins = [slice(None)], []
        for start, patch, size in zip(starts, self.patch_size, array.shape[1:], strict=True):
            box.append(slice(max(start, 0), min(start + patch, size)))
            margins.append((max(-start, 0), max(start + patch - size, 0)))
        flat = [margin for pair in reversed(margins) for margin in pair]  # F.pad wants the last axis first
        return F.pad(array[tuple(box)].float(), flat, value=value)


def augmentation(plan: Plan) -> Compose:
    """The random part: a patch of a preprocessed case, seeded through ``set_random_state``.

    Takes the item of :func:`~uxnet_eval.preprocessing.transforms.preprocessing` after
    :class:`ForegroundVoxels`, gives ``image`` (C, *P) and ``label`` (1, *P), float32 and whole. The
    kinds and ranges are nnU-Net's, the probabilities lower where a transform is slow: turning by up
    to 30 degrees and zooming to 0.7..1.4 (with probability 0.2, on the patch itself), mirroring
    along each of the plan's ``mirror_axes`` (0.5), noise (0.1), blur (0.1), brightness, contrast
    and gamma (0.15 each).
    """
    both = ("image", "label")
    turn = _turn_and_zoom(plan)
    flips = [RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in plan.mirrored]
    return Compose(
        [
            RandomPatch(plan.patch_size, plan.padding_value),
            turn,
            PlainTensors(both, allow_missing_keys=True),
            RandGaussianNoised("image", prob=0.1, std=0.3),
            RandGaussianSmoothd(
                "image", prob=0.1, **{f"sigma_{axis}": (0.5, 1.0) for axis in "xyz"[: plan.spatial_dims]}
            ),
            RandScaleIntensityd("image", prob=0.15, factors=(-0.25, 0.25)),
            RandScaleIntensityFixedMeand("image", prob=0.15, factors=(-0.25, 0.5), preserve_range=True),
            RandAdjustContrastd("image", prob=0.15, gamma=(0.7, 1.5), retain_stats=True),
            *flips,
            PlainTensors(both),
        ]
    )


def _turn_and_zoom(plan: Plan) -> RandAffined:
    spacing, dims = plan.spacing_mm, plan.spatial_dims
    thick = int(np.argmax(spacing)) if max(spacing) / min(spacing) > ANISOTROPY else None
    angle = np.deg2rad(30.0)
    if dims == 2:
        turns = [(-angle, angle)] if thick is None else [(0.0, 0.0)]
    else:  # the angle of axis k turns the other two
        turns = [(-angle, angle) if thick in (None, axis) else (0.0, 0.0) for axis in range(3)]
    # MONAI scales the sampling grid by 1 + x: x < 0 enlarges the image
    zooms = [(0.0, 0.0) if axis == thick else (-0.3, 0.4) for axis in range(dims)]
    return RandAffined(
        ("image", "label"),
        prob=0.2,
        rotate_range=turns,
        scale_range=zooms,
        mode=("bilinear", "nearest"),
        padding_mode="border",
    )
