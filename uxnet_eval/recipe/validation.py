"""Segmenting a whole image with a network that was trained on patches, and its Dice.

Shapes: B batch (1), C channels, K classes, *S = H W or D H W of the preprocessed image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.inferers import sliding_window_inference
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from torch import Tensor

from ..config.plan import Plan


def segment(network: Callable[[Tensor], Tensor], image: Tensor, plan: Plan, overlap: float = 0.25) -> Tensor:
    """The logits (1, K, *S), float32, of one preprocessed image (1, C, *S).

    Windows of the plan's patch size are weighted by a Gaussian; an image smaller than the patch is padded.

    Args:
        network: maps (B, C, *patch_size) to (B, K, *patch_size).
        image: in the network's grid and normalisation.
        plan: gives the patch size.
        overlap: of neighbouring windows, as a share of the patch, in [0, 1).
    """
    return sliding_window_inference(
        image,
        plan.patch_size,
        sw_batch_size=1,
        predictor=lambda patch: network(patch).float(),
        overlap=overlap,
        mode="gaussian",
    )


def foreground_dice(prediction: Tensor, reference: Tensor, num_classes: int) -> Tensor:
    """Dice of each foreground class, (K - 1,); NaN for a class that neither mask holds.

    Args:
        prediction: class indices, (1, 1, *S).
        reference: class indices, (1, 1, *S).
        num_classes: K, background included.
    """
    masks = [one_hot(labels.long(), num_classes) for labels in (prediction, reference)]
    dice = compute_dice(*masks, include_background=False, ignore_empty=False)[0]
    absent = torch.stack([mask[0, 1:].flatten(1).sum(1) for mask in masks]).sum(0) == 0
    return dice.masked_fill(absent.to(dice.device), torch.nan)
