"""Input that costs what real input costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

NUM_CLASSES = 3


def noise_batch(batch_size: int, size: Sequence[int], seed: int = 0) -> dict[str, Tensor]:
    """``image`` (B, 1, *S) of noise and ``label`` (B, 1, *S) of slabs of :data:`NUM_CLASSES` classes."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch_size, 1, *size, generator=generator)
    ramp = torch.arange(size[0]) * NUM_CLASSES // size[0]
    label = ramp.reshape(1, 1, -1, *(1,) * (len(size) - 1)).expand(batch_size, 1, *size).contiguous()
    return {"image": image, "label": label}


class NoiseStream:
    """The same batch over and over: no time goes into preparing it."""

    def __init__(self, batch_size: int, size: Sequence[int], seed: int, num_batches: int = 1000) -> None:
        self._batch, self._num_batches = noise_batch(batch_size, size, seed), num_batches

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for _ in range(self._num_batches):
            yield self._batch
