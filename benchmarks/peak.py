"""How fast the machine multiplies matrices: the physical limit that steps are compared with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from .device import the_device

SIZES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
SECONDS = 1.0
"""Per size."""


def matmul_peak(num_threads: int, seconds: float = SECONDS) -> dict[str, Any]:
    """Multiply-adds per second of square matrices in ``float32`` and ``bfloat16``, each at its best size.

    With one thread on a CPU they are per second of processor time, as the steps' times are.
    """
    torch.set_num_threads(num_threads)
    device = the_device()
    clock = time.process_time if num_threads == 1 and device.type == "cpu" else time.perf_counter
    peak: dict[str, Any] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        peak[name] = max(_rate(size, dtype, device, clock, seconds) for size in SIZES[device.type])
    return peak


def _rate(
    size: int, dtype: torch.dtype, device: torch.device, clock: Callable[[], float], seconds: float
) -> float:
    """The median rate over some products."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    a @ b
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        _wait(device)
        start = clock()
        a @ b
        _wait(device)
        times.append(clock() - start)
    return size**3 / sorted(times)[len(times) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
