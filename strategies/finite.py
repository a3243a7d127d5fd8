"""The check of a loss or a gradient before a step is taken with it."""

from __future__ import annotations

import torch
from torch import Tensor


class Diverged(RuntimeError):
    """The loss or the gradient is NaN or infinite: further steps would only spoil the weights."""


def check_finite(value: Tensor, what: str, epoch: int) -> None:
    """Raises :class:`Diverged` if a scalar is NaN or infinite.

    Args:
        value: the scalar.
        what: the beginning of the message, such as ``the loss is``.
        epoch: from 0.
    """
    if not torch.isfinite(value):
        raise Diverged(f"{what} {value.item()} in epoch {epoch + 1}")
