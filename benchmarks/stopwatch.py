"""How long a step takes, on a CPU or a CUDA GPU, and how many steps to time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from .ledger import Ledger

LONG_STEP_S = 60.0
"""A first step that takes longer than this counts: what it sets up once is small beside it."""
ENOUGH_S = 3.0
MAX_STEPS = 5


@dataclass
class Timings:
    """Of the steps of one process."""

    wall_s: list[float] = field(default_factory=list)
    """Of each timed step."""
    cpu_s: list[float] = field(default_factory=list)
    """Processor time of all threads; on a quiet machine the wall time by the number of threads, or less."""
    peak_gpu_bytes: int | None = None
    """The most memory that tensors on the GPU took; None on a CPU."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Stopwatch:
    """Times steps until enough have been timed: :meth:`start`, :meth:`stop`, as long as not :attr:`enough`.

    The first step is a warm-up unless it takes long; then steps are timed for 3 s, and 5 of them at most.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._warm = False
        self.timings = Timings()
        self.enough = False

    def start(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self._begin, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self._begin.record()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        if self._device.type == "cuda":
            self._end.record()
            torch.cuda.synchronize(self._device)
            wall = self._begin.elapsed_time(self._end) / 1000
            self.timings.peak_gpu_bytes = torch.cuda.max_memory_allocated(self._device)
        else:
            wall = time.perf_counter() - self._wall
        cpu = time.process_time() - self._cpu
        if self._warm or wall > LONG_STEP_S:
            self.timings.wall_s.append(wall)
            self.timings.cpu_s.append(cpu)
        self._warm = True
        self.enough = len(self.timings.wall_s) >= MAX_STEPS or sum(self.timings.wall_s) >= ENOUGH_S


class StepRecorder:
    """Times steps and keeps a ledger of one: :meth:`begin`, :meth:`end`, as long as not :attr:`done`.

    A ledger's bookkeeping takes some 0.3 s of a search step. Steps that are short beside it are timed without; then
    one more is only entered in the ledger. Of long steps (:data:`LONG_STEP_S`) the first one is both.

    Args:
        device: of the computation.
        batch_size: for the ledger.
        with_ledger: whether to keep one.
    """

    def __init__(self, device: torch.device, batch_size: int, with_ledger: bool) -> None:
        self._stopwatch = Stopwatch(device)
        self._device, self._batch_size, self._with_ledger = device, batch_size, with_ledger
        self._first = True
        self._current: Ledger | None = None
        self._kept: Ledger | None = None
        self.done = False

    def begin(self) -> None:
        enters = self._with_ledger and (self._first or self._stopwatch.enough)
        self._current = Ledger(self._batch_size, self._device) if enters else None
        self._stopwatch.start()
        if self._current is not None:
            self._current.__enter__()

    def end(self) -> None:
        if self._current is not None:
            self._current.__exit__(None, None, None)
        if not self._stopwatch.enough:
            self._stopwatch.stop()
        self._kept, self._first = self._current, False
        self.done = self._stopwatch.enough and (self._kept is not None or not self._with_ledger)

    def repeat(self, step: Callable[[], None]) -> None:
        """Runs ``step`` until done."""
        while not self.done:
            self.begin()
            step()
            self.end()

    def to_dict(self) -> dict[str, Any]:
        """``timings`` and, if it was kept, ``ledger``."""
        result = {"timings": self._stopwatch.timings.to_dict()}
        return result if self._kept is None else result | {"ledger": self._kept.to_dict()}
