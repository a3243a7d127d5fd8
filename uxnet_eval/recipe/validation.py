"""Segments whole images by sliding windows, and computes the Dice of the validation cases.

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

    Windows of the plan's patch size are weighted by a Gaussian. An image smaller than the patch is
    padded with the plan's ``padding_value``, as in training.

    Args:
        network: maps (B, C, *patch_size) to (B, K, *patch_size).
        image: in the network's grid and normalisation.
        plan: gives the patch size and the padding.
        overlap: of neighbouring windows, as a share of the patch, in [0, 1).
    """
    return sliding_window_inference(
        image,
        plan.patch_size,
        sw_batch_size=1,
        predictor=lambda patch: network(patch).float(),
        overlap=overlap,
        mode="gaussian",
        cval=plan.padding_value,
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


class DiceTally:
    """The Dice of validation cases, added up class by class.

    A class counts in the cases in which it occurs (see :func:`foreground_dice`).

    Args:
        num_classes: K, background included.
        device: where the sums are kept.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        self.sums = torch.zeros(2, num_classes - 1, device=device, dtype=torch.float64)
        """Per foreground class the sum of Dice, and the number of cases; (2, K - 1). Processes may
        add theirs."""

    def add(self, dice: Tensor) -> None:
        """Adds one case: Dice (K - 1,), NaN for a class that does not occur."""
        dice = dice.to(self.sums.device)
        self.sums[0] += dice.nan_to_num(0)
        self.sums[1] += ~dice.isnan()

    def class_means(self) -> list[float | None]:
        """The mean over cases of each foreground class; None for a class that occurs in no case."""
        sums, counts = self.sums.tolist()
        return [total / count if count else None for total, count in zip(sums, counts, strict=True)]

    def mean(self) -> float:
        """The mean of the class means, over the classes that occur; 0 if none does."""
        means = [mean for mean in self.class_means() if mean is not None]
        return sum(means) / len(means) if means else 0.0
