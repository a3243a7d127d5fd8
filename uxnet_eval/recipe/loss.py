"""The loss of searches and trainings: Dice + cross entropy, with deep supervision.

Shapes: B batch, K classes, *S spatial axes of one level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceCELoss
from monai.networks.utils import one_hot
from torch import Tensor
from torch.nn import functional

from strategies.processes import num_processes, summed

from .deep_supervision import supervised_loss

dice_and_cross_entropy = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
"""Soft Dice over the batch's foreground, plus cross entropy; of logits (B, K, *S) and class indices
(B, 1, *S)."""


def shared_dice_and_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """:data:`dice_and_cross_entropy` of the batches of all processes together, in each of them.

    Dice is a ratio of sums over the batch, so the sums are added up, not the losses. The backward
    pass leaves in each process the gradient whose mean over the processes is that of the whole.

    Args:
        logits: (B, K, *S) of this process.
        label: class indices (B, 1, *S) of this process.
    """
    axes = [0, *range(2, logits.ndim)]
    probability = logits.softmax(1)[:, 1:]
    mask = one_hot(label, logits.shape[1])[:, 1:]
    sums = torch.cat([(probability * mask).sum(axes), probability.sum(axes) + mask.sum(axes)])
    cross_entropy = functional.cross_entropy(logits, label[:, 0].long()) / num_processes()
    shared = summed(torch.cat([sums, cross_entropy[None]]))
    overlap, size = shared[:-1].chunk(2)
    smooth = dice_and_cross_entropy.dice.smooth_nr, dice_and_cross_entropy.dice.smooth_dr
    return (1 - (2 * overlap + smooth[0]) / (size + smooth[1])).mean() + shared[-1]


def segmentation_loss(outputs: Tensor | Sequence[Tensor], label: Tensor) -> Tensor:
    """The loss of one or several outputs, a scalar in float32.

    Args:
        outputs: logits (B, K, *S), or a list of them with the full resolution first.
        label: class indices (B, 1, *S) at full resolution.
    """
    with torch.autocast(label.device.type, enabled=False):  # sums over many voxels: not in bfloat16
        loss = dice_and_cross_entropy if num_processes() == 1 else shared_dice_and_cross_entropy
        return supervised_loss(outputs, label, loss)


def distillation_loss(outputs: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]) -> Tensor:
    """Cross entropy of outputs with the probabilities of a teacher, a scalar in float32.

    The teacher gets no gradient.

    Args:
        outputs: logits (B, K, *S), or a list of them; only the first, of full resolution, counts.
        teacher: likewise.
    """
    own, other = (each if isinstance(each, Tensor) else each[0] for each in (outputs, teacher))
    with torch.autocast(own.device.type, enabled=False):  # sums over many voxels: not in bfloat16
        return functional.cross_entropy(own.float(), other.detach().float().softmax(1))
