"""What the rows of a comparison are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..architectures.architecture import PRESET_PREFIX
from ..architectures.controls import RANDOM_PREFIX, WIDTHS_PREFIX
from .trainings import Training

TITLES = {
    "searched": "searched",
    "unet": "U-Net (sum, grid)",
    "unet++": "U-Net++ (sum, grid)",
    "res-unet": "Res-U-Net (sum, grid)",
    "dense-unet": "dense U-Net (sum, grid)",
    "dla": "DLA (sum, grid)",
    "full": "all edges, U-Net operations",
    "all-edges": "all edges, searched operations",
    "searched-edges": "searched edges, U-Net operations",
    "searched-operations": "U-Net edges, searched operations",
    "dynunet": "DynUNet (nnU-Net)",
    "segresnet": "SegResNet (MONAI)",
    "u-resnet": "U-ResNet (MONAI)",
    "monai-unet++": "U-Net++ (MONAI)",
    "dints": "DiNTS (MONAI)",
}


def is_random(training: Training) -> bool:
    """Whether it trained a random genotype for the common row, without its own label."""
    return training.label is None and training.architecture.startswith(RANDOM_PREFIX)


def label_trainings(trainings: Sequence[Training]) -> list[str]:
    """The label of each training's network.

    It is that of its settings, or else equal if and only if the networks are equal.

    A genotype's file is called by its name. Where two files of one name, or ``searched`` of two
    searches, hold different genotypes, a number tells them apart. A label that was set is one row,
    whatever its genotypes are. Trainings of different budgets of multiply-adds are different rows,
    named after the budget.
    """
    given = {training.label for training in trainings if training.label is not None}
    numbers: dict[str, list[str]] = {}
    titles = [_title(training) for training in trainings]
    for title, training in zip(titles, trainings, strict=True):
        genotypes = numbers.setdefault(title, [])
        if training.label is None and training.genotype not in genotypes:
            genotypes.append(training.genotype)
    labels = []
    for title, training in zip(titles, trainings, strict=True):
        if training.label is not None:
            labels.append(training.label)
            continue
        numbered = len(numbers[title]) > 1
        label = f"{title} ({numbers[title].index(training.genotype) + 1})" if numbered else title
        labels.append(f"{label} (unlabelled)" if label in given else label)
    return _told_apart_by_budget(labels, trainings)


def _told_apart_by_budget(labels: Sequence[str], trainings: Sequence[Training]) -> list[str]:
    budgets: dict[str, set[float | None]] = {}
    for label, training in zip(labels, trainings, strict=True):
        budgets.setdefault(label, set()).add(training.budget)
    return [
        f"{label}, {training.budget / 1e9:.3g} G" if len(budgets[label]) > 1 and training.budget else label
        for label, training in zip(labels, trainings, strict=True)
    ]


def _title(training: Training) -> str:
    name = training.architecture.removeprefix(PRESET_PREFIX)
    if name.startswith(RANDOM_PREFIX):
        return f"random genotype {name.removeprefix(RANDOM_PREFIX)}"
    if name.startswith(WIDTHS_PREFIX):
        return f"U-Net, widths {name.removeprefix(WIDTHS_PREFIX)}"
    return TITLES.get(name, Path(name).name.removesuffix(".json"))
