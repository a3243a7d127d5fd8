"""Measured latency: the time that a network or one of its layers takes for one patch."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..recipe.precision import autocast, channels_last

REPEATS = 7
"""Timed passes. The shortest counts: other processes only make a pass longer."""
WARM_UP = 2
"""Passes before them, which are not timed."""


class LatencyMeter:
    """Measures on one device.

    Args:
        device: computes.
        precision: Lightning's name of the number format.
        is_channels_last: whether features and weights have that memory format.
    """

    def __init__(self, device: torch.device, precision: str, *, is_channels_last: bool) -> None:
        self.device, self.precision, self.is_channels_last = device, precision, is_channels_last

    def machine(self) -> dict[str, Any]:
        """What a latency depends on beside the network; equal for two equal machines."""
        is_gpu = self.device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name(self.device) if is_gpu else _processor_name(),
            "threads": 0 if is_gpu else torch.get_num_threads(),
            "precision": self.precision,
            "channels_last": self.is_channels_last,
            "torch": torch.__version__.split("+")[0],
        }

    def features(self, channels: int, size: Sequence[int]) -> Tensor:
        """Random features (1, channels, *size), in the device's layout."""
        generator = torch.Generator().manual_seed(0)
        return self._placed(torch.randn(1, channels, *size, generator=generator), len(size))

    def latency_ms(self, module: nn.Module, features: Tensor) -> float:
        """The time of one forward pass, in ms; the module is moved to the device.

        The pass is measured as a whole, and as a sum of pieces that end where a submodule ends. The
        shortest time of each counts, and the smaller of the two is the result: pieces are short, so
        that other processes do not interrupt each of them.
        """
        module = self._placed(module, features.ndim - 2).eval()
        with torch.inference_mode(), autocast(self.precision, self.device):
            for _ in range(WARM_UP):
                module(features)
            whole_ms = min(sum(self._pieces_ms(module, features, ())) for _ in range(REPEATS))
            inner = [each for each in module.modules() if not any(each.children())]
            passes = [self._pieces_ms(module, features, inner) for _ in range(REPEATS)]
        return min(whole_ms, sum(map(min, zip(*passes, strict=True))))

    def _pieces_ms(self, module: nn.Module, features: Tensor, inner: Sequence[nn.Module]) -> list[float]:
        """The times between the ends of the calls of ``inner`` modules in one pass."""
        pieces_ms: list[float] = []
        since_ms = self._clock()

        def cut(*_: object) -> None:
            nonlocal since_ms
            pieces_ms.append(since_ms())
            since_ms = self._clock()

        hooks = [each.register_forward_hook(cut) for each in inner]
        module(features)
        pieces_ms.append(since_ms())
        for hook in hooks:
            hook.remove()
        return pieces_ms

    def _clock(self) -> Callable[[], float]:
        """Starts a clock; the function that it returns gives the time since then in ms."""

        def now() -> float:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            return time.perf_counter()

        started = now()
        return lambda: 1000 * (now() - started)

    def _placed(self, part: Any, spatial_dims: int) -> Any:
        layout = channels_last(spatial_dims) if self.is_channels_last else torch.contiguous_format
        return part.to(self.device).to(memory_format=layout)


def _processor_name() -> str:
    """The processor's name and its number of cores."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {os.cpu_count()} cores"
