"""Models without training, for tests of prediction: networks whose output can be told from the intensities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.msd import Dataset


@dataclass
class StandInModel:
    """What :class:`uxnet_eval.prediction.Model` asks for; windows overlap by half."""

    network: Callable[[Tensor], Tensor]
    plan: Plan
    channel_names: Sequence[str] = ("MRI",)
    class_names: Sequence[str] = ("background", "organ")
    label_values: Sequence[int] = (0, 1)

    overlap: float = 0.5
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "32-true"

    @property
    def dataset(self) -> Dataset:
        names, values = tuple(self.class_names), tuple(self.label_values)
        return Dataset(Path(), "", tuple(self.channel_names), names, values, (), (), self.plan.spatial_dims)


def raw_plan(spacing_mm: Sequence[float], patch_size: Sequence[int]) -> Plan:
    """A plan that leaves intensities from 0 to 1000 as they are."""
    return Plan(
        spatial_dims=len(patch_size),
        spacing_mm=tuple(spacing_mm),
        patch_size=tuple(patch_size),
        strides=((2,) * len(patch_size),),
        normalization="ct",
        intensity={"lower": 0.0, "upper": 1000.0, "mean": 0.0, "std": 1.0},
    )


def threshold_network(*thresholds: float, steepness: float = 0.01) -> Callable[[Tensor], Tensor]:
    """Class k where the first channel is above k of the ascending thresholds, voxel by voxel."""

    def network(windows: Tensor) -> Tensor:
        intensity = windows[:, :1]
        # Class k's line has slope k and meets that of class k - 1 at the k-th threshold.
        offsets = [sum(thresholds[:k]) for k in range(len(thresholds) + 1)]
        return torch.cat([steepness * (k * intensity - offset) for k, offset in enumerate(offsets)], dim=1)

    return network


def constant_network(*logits: float) -> Callable[[Tensor], Tensor]:
    """These logits everywhere."""

    def network(windows: Tensor) -> Tensor:
        channels = [torch.full_like(windows[:, :1], value) for value in logits]
        return torch.cat(channels, dim=1)

    return network
