"""The paper's tables 1 and 2 (Ji et al., MICCAI 2020), and which contender is which row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DataKey = Literal["brain", "heart", "prostate", "isic"]

DATA_TITLES: dict[DataKey, str] = {
    "brain": "brain tumour",
    "heart": "heart",
    "prostate": "prostate",
    "isic": "ISIC skin lesion",
}
"""The paper's columns."""
DATA_FOLDERS: dict[str, DataKey] = {
    "Task01_BrainTumour": "brain",
    "Task02_Heart": "heart",
    "Task05_Prostate": "prostate",
    "ISIC2018": "isic",
}
"""The paper's data sets by the names of their folders."""


@dataclass(frozen=True)
class PublishedRow:
    """One row of a table of the paper.

    Attributes:
        contender: of ``uxnet contest``, that stands for this row.
        name: of the network, as the tables here call it.
        blocks: whether the operations (SBB) are searched.
        aggregation: whether the edges (MSSA) are searched.
        tau: the threshold of the gates; None: no edges are searched.
        dice_percent: the published Dice in percent, by data set; a data set that is missing has
            none.
    """

    contender: str
    name: str
    blocks: bool
    aggregation: bool
    tau: float | None = None
    dice_percent: Mapping[DataKey, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedTable:
    """One table of the paper: its number, its title, and its rows in the paper's order."""

    number: int
    title: str
    rows: tuple[PublishedRow, ...]


def _dice(brain: float, heart: float, prostate: float, isic: float | None) -> dict[DataKey, float]:
    known: dict[DataKey, float] = {"brain": brain, "heart": heart, "prostate": prostate}
    return known if isic is None else {**known, "isic": isic}


ABLATION = PublishedTable(
    1,
    "searched operations (SBB), searched edges (MSSA) and the threshold tau",
    (
        PublishedRow("unet", "U-Net (sum, grid)", False, False, None, {"brain": 72.50}),
        PublishedRow("paper-sbb", "SBB alone", True, False, None, {"brain": 73.43}),
        PublishedRow("paper-mssa", "MSSA alone", False, True, 0.75, {"brain": 73.65}),
        PublishedRow("paper-tau-0.60", "UXNet, tau 0.60", True, True, 0.60, {"brain": 73.90}),
        PublishedRow("paper", "UXNet, tau 0.75", True, True, 0.75, {"brain": 74.57}),
        PublishedRow("paper-tau-0.90", "UXNet, tau 0.90", True, True, 0.90, {"brain": 74.35}),
    ),
)
COMPARISON = PublishedTable(
    2,
    "the searched network beside others",
    (
        PublishedRow("unet", "U-Net (sum, grid)", False, False, None, _dice(72.5, 90.70, 73.13, 86.2)),
        PublishedRow(
            "dynunet", "nnU-Net (here: DynUNet)", False, False, None, _dice(74.0, 92.7, 74.54, None)
        ),
        PublishedRow("monai-unet++", "U-Net++ (MONAI)", False, False, None, _dice(72.66, 91.56, 72.95, 86.7)),
        PublishedRow("u-resnet", "U-ResNet (MONAI)", False, False, None, _dice(71.61, 89.6, 63.77, 88.0)),
        PublishedRow("scnas", "SCNAS (re-implemented)", True, False, None, _dice(72.04, 90.47, 67.92, None)),
        PublishedRow(
            "ronasmis", "RONASMIS (re-implemented)", True, False, None, _dice(74.14, 92.72, 75.71, None)
        ),
        PublishedRow("paper", "UXNet, tau 0.75", True, True, 0.75, _dice(74.57, 93.5, 76.36, 89.6)),
    ),
)
TABLES = (ABLATION, COMPARISON)

OTHER_NAMES = {
    "unet++": "U-Net++ (sum, grid)",
    "dense-unet": "dense U-Net (sum, grid)",
    "res-unet": "Res-U-Net (sum, grid)",
    "dla": "DLA (sum, grid)",
    "searched": "search by measurement",
    "searched-unet-edges": "search by measurement, U-Net's edges",
    "searched-widths": "search by measurement, U-Net's widths alone",
    "gates": "differentiable search, extended space",
    "perturbation": "DARTS-PT, extended space",
    "random": "random architectures",
    "unet-widths": "U-Net, random widths",
    "all-edges": "all edges",
}
"""Names of contenders that the paper does not have; table 2 lists them after the paper's rows."""
SEARCHED_OTHERS = {
    "searched": (True, True),
    "searched-unet-edges": (True, False),
    "searched-widths": (False, False),
    "gates": (True, True),
    "perturbation": (True, True),
}
"""Whether such a contender searches operations, and edges."""
