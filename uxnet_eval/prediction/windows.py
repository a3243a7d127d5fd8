"""The logits of a whole image from a network that sees one window at a time.

Legend: B windows, C channels, K classes, *P the window (the plan's patch size), *N the image in the
network's grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from ..config.plan import Plan
from ..dataset.msd import Dataset
from ..recipe.precision import autocast

Network = Callable[[Tensor], Tensor]

MAX_BATCH_SIZE = 8
"""Windows per batch; more do not make a GPU faster."""

MEMORY_SHARE = 0.7
"""Share of a GPU's free memory that a batch of windows may take."""


class Model(Protocol):
    """What prediction needs of a trained network.

    :class:`uxnet_eval.networks.checkpoint.LoadedModel` provides it.
    """

    @property
    def network(self) -> Any:
        """Maps (B, C, *P) to (B, K, *P); in evaluation mode, on ``device``."""

    @property
    def plan(self) -> Plan: ...

    @property
    def dataset(self) -> Dataset:
        """Channels, classes and label values; its cases play no part."""

    @property
    def device(self) -> torch.device: ...

    @property
    def precision(self) -> str:
        """Lightning's name, see :func:`uxnet_eval.recipe.precision.resolve_precision`."""

    @property
    def overlap(self) -> float:
        """Overlap of neighbouring windows in the training's validation."""


@dataclass(frozen=True)
class WindowSettings:
    """How windows are laid."""

    overlap: float | None = None
    """Overlap of neighbouring windows as a fraction of the window, in [0, 1); None: that of the
    training's validation."""
    mirror: bool = False
    """Whether logits are the mean over all mirror images of a window along the plan's
    ``mirror_axes`` (8 in 3-D)."""
    batch_size: int = 1
    """Windows computed at once."""

    def __post_init__(self) -> None:
        if not 0 <= (self.overlap or 0) < 1 or self.batch_size < 1:
            raise ValueError(
                f"overlap {self.overlap}, batch_size {self.batch_size}: expected [0, 1) and at least 1"
            )

    def overlap_for(self, model: Model) -> float:
        """The overlap asked for, or else the model's own."""
        return model.overlap if self.overlap is None else self.overlap


def window_logits(
    model: Model,
    image: Tensor,
    settings: WindowSettings,
    note_windows: Callable[[int], None] | None = None,
) -> Tensor:
    """The logits (K, *N), float32 in main memory, of one preprocessed image.

    Windows of the plan's patch size are weighted by a Gaussian (Isensee 2021, nnU-Net); an image
    smaller than the window is padded with the plan's ``padding_value``, as in training. The
    network's device holds no more than a batch of windows.

    Args:
        model: the trained network.
        image: (C, *N) float32, in the network's grid and normalisation.
        settings: overlap, mirroring, batch size.
        note_windows: called after each batch with its number of windows.
    """
    predict = mirrored_mean(model.network, model.plan.mirrored) if settings.mirror else model.network

    def predictor(windows: Tensor) -> Tensor:
        with autocast(model.precision, model.device):
            logits = predict(windows)
        if note_windows is not None:
            note_windows(len(windows))
        return logits.float()

    with torch.inference_mode():
        return sliding_window_inference(
            image[None],
            model.plan.patch_size,
            sw_batch_size=settings.batch_size,
            predictor=predictor,
            overlap=settings.overlap_for(model),
            mode="gaussian",
            cval=model.plan.padding_value,
            sw_device=model.device,
            device=torch.device("cpu"),
        )[0]


def mirrored_mean(network: Network, mirrored: Sequence[int]) -> Network:
    """The mean of a network's logits over all mirror images of its input, each mirrored back.

    Args:
        network: to predict with.
        mirrored: the spatial axes, from 0, along which it has learned from mirror images.
    """
    axes = [2 + axis for axis in mirrored]
    subsets = [s for size in range(len(axes) + 1) for s in itertools.combinations(axes, size)]

    def mean(windows: Tensor) -> Tensor:
        total = network(windows).float()
        for subset in subsets[1:]:
            total = total + network(windows.flip(subset)).float().flip(subset)
        return total / len(subsets)

    return mean


def num_windows(size_voxels: Sequence[int], patch_size: Sequence[int], overlap: float) -> int:
    """How many windows MONAI lays over an image."""
    count = 1
    for size, patch in zip(size_voxels, patch_size, strict=True):
        step = max(1, int(patch * (1 - overlap)))
        count *= math.ceil(max(0, size - patch) / step) + 1
    return count


def fitting_batch_size(model: Model) -> int:
    """How many windows to compute at once: on a GPU as many as its free memory holds, on a CPU one.

    On a CPU a window fills all cores, so that a batch would only take memory.
    """
    device = model.device
    if device.type != "cuda":
        return 1
    torch.cuda.reset_peak_memory_stats(device)
    before_bytes = torch.cuda.memory_allocated(device)
    with torch.inference_mode(), autocast(model.precision, device):
        model.network(torch.zeros(1, model.dataset.num_channels, *model.plan.patch_size, device=device))
    window_bytes = max(1, torch.cuda.max_memory_allocated(device) - before_bytes)
    torch.cuda.empty_cache()
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MAX_BATCH_SIZE, int(MEMORY_SHARE * free_bytes / window_bytes)))
