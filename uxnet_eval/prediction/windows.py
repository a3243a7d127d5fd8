"""The logits of a whole image from a network that sees one window at a time.

Legend: B windows, C channels, K classes, *P the window (the plan's patch size), *N the image in the network's grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from ..plan import Plan
from ..precision import autocast

Network = Callable[[Tensor], Tensor]

MAX_BATCH_SIZE = 8
"""Of windows: larger batches keep no GPU busier."""

MEMORY_SHARE = 0.7
"""Of the free memory of a GPU that a batch of windows may take."""


@dataclass(frozen=True)
class WindowSettings:
    """How windows are laid and computed."""

    overlap: float = 0.5
    """Of neighbouring windows, as a share of the window, in [0, 1)."""
    mirror: bool = False
    """Whether logits are the mean over all mirror images of a window (8 in 3-D, 4 in 2-D)."""
    batch_size: int = 1
    """Windows computed at once."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where the network is; images and logits stay in main memory."""
    precision: str = "32-true"
    """Lightning's name, see :func:`uxnet_eval.precision.resolve_precision`."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1 or self.batch_size < 1:
            raise ValueError(
                f"overlap {self.overlap}, batch_size {self.batch_size}: expected [0, 1) and at least 1"
            )


def window_logits(
    network: Network,
    image: Tensor,
    plan: Plan,
    settings: WindowSettings,
    note_windows: Callable[[int], None] | None = None,
) -> Tensor:
    """The logits (K, *N), float32 in main memory, of one preprocessed image.

    Windows of the plan's patch size are weighted by a Gaussian (Isensee 2021, nnU-Net); an image smaller than the
    window is padded with 0, the mean intensity.

    Args:
        network: maps (B, C, *P) to (B, K, *P); in evaluation mode, on ``settings.device``.
        image: (C, *N) float32, in the network's grid and normalisation.
        plan: gives the patch size.
        settings: overlap, mirroring, batch size, device, precision.
        note_windows: called after each batch with its number of windows.
    """
    predict = mirrored_mean(network, plan.spatial_dims) if settings.mirror else network

    def predictor(windows: Tensor) -> Tensor:
        with autocast(settings.precision, settings.device):
            logits = predict(windows)
        if note_windows is not None:
            note_windows(len(windows))
        return logits.float()

    with torch.inference_mode():
        return sliding_window_inference(
            image[None],
            plan.patch_size,
            sw_batch_size=settings.batch_size,
            predictor=predictor,
            overlap=settings.overlap,
            mode="gaussian",
            sw_device=settings.device,
            device=torch.device("cpu"),
        )[0]


def mirrored_mean(network: Network, spatial_dims: int) -> Network:
    """The mean of a network's logits over all mirror images of its input, each mirrored back."""
    axes = range(2, 2 + spatial_dims)
    subsets = [s for size in range(spatial_dims + 1) for s in itertools.combinations(axes, size)]

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


def fitting_batch_size(
    network: Network, num_channels: int, plan: Plan, device: torch.device, precision: str
) -> int:
    """How many windows to compute at once: on a GPU as many as its free memory holds, on a CPU one.

    On a CPU a window fills all cores, so that a batch would only take memory.
    """
    if device.type != "cuda":
        return 1
    torch.cuda.reset_peak_memory_stats(device)
    before_bytes = torch.cuda.memory_allocated(device)
    with torch.inference_mode(), autocast(precision, device):
        network(torch.zeros(1, num_channels, *plan.patch_size, device=device))
    window_bytes = max(1, torch.cuda.max_memory_allocated(device) - before_bytes)
    torch.cuda.empty_cache()
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MAX_BATCH_SIZE, int(MEMORY_SHARE * free_bytes / window_bytes)))
