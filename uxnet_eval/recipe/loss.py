"""The loss of searches and trainings: Dice + cross entropy, with deep supervision.

Shapes: B batch, K classes, *S spatial axes of one level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceCELoss
from torch import Tensor

from .deep_supervision import supervised_loss

dice_and_cross_entropy = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
"""Soft Dice over the batch's foreground, plus cross entropy; of logits (B, K, *S) and class indices
(B, 1, *S)."""


class Diverged(RuntimeError):
    """The loss or the gradient is NaN or infinite: further steps would only spoil the weights."""


def segmentation_loss(outputs: Tensor | Sequence[Tensor], label: Tensor) -> Tensor:
    """The loss of one or several outputs, a scalar in float32.

    Args:
        outputs: logits (B, K, *S), or a list of them with the full resolution first.
        label: class indices (B, 1, *S) at full resolution.
    """
    with torch.autocast(label.device.type, enabled=False):  # sums over many voxels: not in bfloat16
        return supervised_loss(outputs, label, dice_and_cross_entropy)


def check_finite(value: Tensor, what: str, epoch: int) -> None:
    """Raises :class:`Diverged` if a scalar is NaN or infinite.

    Args:
        value: the scalar.
        what: the beginning of the message, such as ``the loss is``.
        epoch: from 0.
    """
    if not torch.isfinite(value):
        raise Diverged(f"{what} {value.item()} in epoch {epoch + 1}")
