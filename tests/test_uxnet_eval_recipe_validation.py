"""Validation of whole cases: how Dice is averaged, and what a small case is padded with."""

from __future__ import annotations

import math

import pytest
import torch

from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.msd import Dataset
from uxnet_eval.prediction.windows import WindowSettings, window_logits
from uxnet_eval.preprocessing.augmentation import RandomPatch, augmentation
from uxnet_eval.recipe.validation import DiceTally, foreground_dice, segment

AIR = -2.5  # (lower - mean) / std below


def ct_plan(dims: int) -> Plan:
    return Plan(
        spatial_dims=dims,
        spacing_mm=(1.0,) * dims,
        patch_size=(8,) * dims,
        strides=((2,) * dims,),
        normalization="ct",
        intensity={"lower": -100.0, "upper": 300.0, "mean": 25.0, "std": 50.0},
    )


def test_dice_is_averaged_over_cases_first_then_over_classes() -> None:
    # Two cases, four voxels, two foreground classes; class 2 occurs in the second case only.
    first = torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 0, 0])  # Dice of class 1: 2*1 / (2+1) = 2/3
    second = torch.tensor([1, 0, 2, 2]), torch.tensor([1, 0, 2, 0])  # class 1: 1; class 2: 2*1 / (2+1) = 2/3
    tally = DiceTally(3)
    for prediction, reference in (first, second):
        tally.add(foreground_dice(prediction.view(1, 1, 2, 2), reference.view(1, 1, 2, 2), 3))
    assert tally.class_means() == pytest.approx([5 / 6, 2 / 3], abs=1e-6)
    assert tally.mean() == pytest.approx(3 / 4, abs=1e-6)  # over cases last it would be (2/3 + 5/6) / 2 = 3/4


def test_a_class_that_is_often_absent_counts_as_much_as_the_others() -> None:
    nan = math.nan
    tally = DiceTally(4)
    for dice in ([1.0, nan, nan], [0.5, nan, nan], [0.0, 0.25, nan]):
        tally.add(torch.tensor(dice))
    assert tally.class_means() == [0.5, 0.25, None]
    assert tally.mean() == 0.375  # over cases last it would be (1 + 0.5 + 0.125) / 3 = 0.5417


def test_no_foreground_at_all() -> None:
    tally = DiceTally(3)
    tally.add(torch.tensor([math.nan, math.nan]))
    assert tally.class_means() == [None, None]
    assert tally.mean() == 0.0


class Seen:
    """A network that remembers the least value of each window that it is given."""

    def __init__(self) -> None:
        self.least: list[float] = []

    def __call__(self, window: torch.Tensor) -> torch.Tensor:
        self.least.append(window.min().item())
        return torch.cat([window, -window], dim=1)


class Model:
    """What prediction needs of a trained network."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.network, self.device = plan, Seen(), torch.device("cpu")
        self.precision, self.overlap = "32-true", 0.5
        self.dataset: Dataset


@pytest.mark.parametrize("dims", [2, 3])
def test_small_ct_cases_are_padded_with_air_everywhere(dims: int) -> None:
    # All voxels are 1, so the least value of a window is what it was padded with.
    plan, image = ct_plan(dims), torch.ones(1, *(4,) * dims)
    patch = next(step for step in augmentation(plan).transforms if isinstance(step, RandomPatch))
    patch.set_random_state(0)
    item = {"image": image, "label": torch.zeros_like(image), "foreground": []}
    assert patch(item)["image"].min().item() == AIR  # training
    validated = Seen()
    segment(validated, image[None], plan)
    assert validated.least == [AIR]
    model = Model(plan)
    window_logits(model, image, WindowSettings())
    assert model.network.least == [AIR]


@pytest.mark.parametrize("dims", [2, 3])
def test_cases_of_z_scores_are_padded_with_the_mean(dims: int) -> None:
    plan = ct_plan(dims).model_copy(update={"normalization": "zscore", "intensity": None})
    network = Seen()
    segment(network, torch.ones(1, 1, *(4,) * dims), plan)
    assert network.least == [0.0]
