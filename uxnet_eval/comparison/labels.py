"""What the rows of a comparison are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..architectures.architecture import PRESET_PREFIX
from ..architectures.controls import RANDOM_PREFIX
from .trainings import Training

TITLES = {
    "searched": "searched",
    "unet": "U-Net",
    "unet++": "U-Net++",
    "dense-unet": "dense U-Net",
    "full": "all edges, U-Net operations",
    "all-edges": "all edges, searched operations",
    "searched-edges": "searched edges, U-Net operations",
    "searched-operations": "U-Net edges, searched operations",
    "dynunet": "DynUNet (nnU-Net)",
    "segresnet": "SegResNet",
    "u-resnet": "U-ResNet",
    "monai-unet++": "U-Net++ (MONAI)",
    "dints": "DiNTS",
}


def is_random(training: Training) -> bool:
    """Whether it trained a random genotype."""
    return training.architecture.startswith(RANDOM_PREFIX)


def label_trainings(trainings: Sequence[Training]) -> list[str]:
    """The label of each training's network: the same for the same network, different for different ones.

    A genotype's file is called by its name; where two files of one name, or ``searched`` of two searches, hold different
    genotypes, a number tells them apart.
    """
    numbers: dict[str, list[str]] = {}
    titles = [_title(training) for training in trainings]
    for title, training in zip(titles, trainings, strict=True):
        genotypes = numbers.setdefault(title, [])
        if training.genotype not in genotypes:
            genotypes.append(training.genotype)
    return [
        title if len(numbers[title]) == 1 else f"{title} ({numbers[title].index(training.genotype) + 1})"
        for title, training in zip(titles, trainings, strict=True)
    ]


def _title(training: Training) -> str:
    name = training.architecture.removeprefix(PRESET_PREFIX)
    if name.startswith(RANDOM_PREFIX):
        return f"random genotype {name.removeprefix(RANDOM_PREFIX)}"
    return TITLES.get(name, Path(name).name.removesuffix(".json"))
