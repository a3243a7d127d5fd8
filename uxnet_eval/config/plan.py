"""The plan: how a data set is resampled, normalised and cut into patches."""

from __future__ import annotations

import math
import reprlib
from typing import Literal

from pydantic import Field, model_validator

from search_space.strict import StrictConfig

from ..runs.memory import refuse_beyond_memory

MAX_SIZE = 10_000
"""Largest spacing in mm and largest patch size in voxels, along each axis."""
MAX_LEVELS = 12
INTENSITY_KEYS = ("lower", "upper", "mean", "std")


class Plan(StrictConfig):
    """Everything between a file and the network's input.

    ``uxnet plan`` writes it; it can be edited by hand.
    """

    spatial_dims: Literal[2, 3] = 3
    """3 for volumes, 2 for images."""
    spacing_mm: tuple[float, ...]
    """Target spacing along the axes of the RAS-oriented image."""
    patch_size: tuple[int, ...]
    """Voxels along each axis; a multiple of the product of the strides."""
    strides: tuple[tuple[int, ...], ...]
    """Per level 1.., the stride (1 or 2) along each axis: one level fewer than the grid has."""
    batch_size: int = Field(2, ge=1, le=4096)
    """Patches per step."""
    mirror_axes: tuple[int, ...] | None = None
    """Axes along which patches may be mirrored, in training and prediction; None: all. Leave out an
    axis whose two ends always look different, such as front and back of a brain structure, if this
    difference tells classes apart."""
    normalization: Literal["zscore", "ct"] = "zscore"
    """``zscore``: each image and channel by its own mean and SD over non-zero voxels; ``ct``:
    clipped to and scaled by the fixed numbers of ``intensity``."""
    intensity: dict[str, float] | None = None
    """For ``ct``: ``lower``, ``upper`` (clip), ``mean``, ``std`` over the foreground of the
    training cases."""

    @model_validator(mode="after")
    def _check(self) -> Plan:
        for name in ("spacing_mm", "patch_size"):
            values = getattr(self, name)
            if len(values) != self.spatial_dims or min(values) <= 0 or max(values) > MAX_SIZE:
                raise ValueError(
                    f"{name} is {list(values)}; expected {self.spatial_dims} positive numbers up to {MAX_SIZE}"
                )
        if len(self.strides) > MAX_LEVELS or not all(set(stride) <= {1, 2} for stride in self.strides):
            raise ValueError(
                f"strides are {reprlib.repr(self.strides)}; expected 1 or 2 along each axis, at most {MAX_LEVELS} levels"
            )
        # One channel of a batch and its gradient, float32: a network takes many times as much.
        refuse_beyond_memory(
            "plan",
            f"a batch of {self.batch_size} patches of {list(self.patch_size)} voxels",
            8.0 * self.batch_size * math.prod(self.patch_size),
            "lower batch_size or patch_size",
        )
        for axis in range(self.spatial_dims):
            divisor = 1
            for stride in self.strides:
                if len(stride) != self.spatial_dims:
                    raise ValueError(f"strides: {list(stride)} should hold {self.spatial_dims} values")
                divisor *= stride[axis]
            if self.patch_size[axis] % divisor:
                raise ValueError(
                    f"patch_size {list(self.patch_size)}: axis {axis} ({self.patch_size[axis]}) is not a multiple "
                    f"of its strides' product {divisor}; use {self.patch_size[axis] // divisor * divisor or divisor}"
                    f" or {(self.patch_size[axis] // divisor + 1) * divisor}"
                )
        if self.mirror_axes is not None and not set(self.mirror_axes) <= set(range(self.spatial_dims)):
            raise ValueError(
                f"mirror_axes is {list(self.mirror_axes)}; expected some of {list(range(self.spatial_dims))}"
            )
        if (self.normalization == "ct") != (self.intensity is not None):
            raise ValueError("intensity belongs to normalization 'ct', and only to it")
        if self.intensity is not None and set(self.intensity) != set(INTENSITY_KEYS):
            raise ValueError(
                f"intensity holds {sorted(self.intensity)}; expected {', '.join(INTENSITY_KEYS)}"
            )
        if self.intensity is not None and (
            self.intensity["std"] <= 0 or self.intensity["lower"] >= self.intensity["upper"]
        ):
            raise ValueError(f"intensity is {self.intensity}; expected std above 0 and lower below upper")
        return self

    @property
    def mirrored(self) -> tuple[int, ...]:
        """The axes along which patches may be mirrored, in order."""
        return tuple(sorted(set(range(self.spatial_dims) if self.mirror_axes is None else self.mirror_axes)))

    @property
    def padding_value(self) -> float:
        """The padding of a normalised image: 0, or air (the lower clip value) in CT."""
        if self.intensity is None:
            return 0.0
        return (self.intensity["lower"] - self.intensity["mean"]) / self.intensity["std"]

    @property
    def levels(self) -> int:
        """Levels of the grid that these strides belong to."""
        return len(self.strides) + 1
