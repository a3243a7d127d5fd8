"""Patches and their augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from uxnet_eval.config.plan import Plan
from uxnet_eval.preprocessing.augmentation import (
    MAX_VOXELS_PER_CLASS,
    ForegroundVoxels,
    PlainTensors,
    RandomPatch,
    augmentation,
    evenly_spaced,
)


def plan_for(
    patch_size: tuple[int, ...], spacing_mm: tuple[float, ...] | None = None, **settings: Any
) -> Plan:
    dims = len(patch_size)
    return Plan(
        spatial_dims=dims,
        spacing_mm=spacing_mm or (1.0,) * dims,
        patch_size=patch_size,
        strides=((2,) * dims,),
        **settings,
    )


def item_of(image: torch.Tensor, label: torch.Tensor, num_classes: int) -> dict[str, Any]:
    return ForegroundVoxels(num_classes)({"image": image, "label": label.to(torch.uint8)})


def blob(*shape: int) -> torch.Tensor:
    """1 within an ellipsoid off the centre, (1, *S)."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, size) for size in shape], indexing="ij")
    return (sum((axis - 0.2) ** 2 for axis in axes) < 0.3).float()[None]


def test_foreground_voxels_of_each_class() -> None:
    label = torch.zeros(1, 3, 4, 50, dtype=torch.uint8)
    label[0, 1, 2, 3] = 1
    label[0, 2] = 3
    first, second, third = ForegroundVoxels(4)({"label": label})["foreground"]
    assert first.tolist() == [1 * 200 + 2 * 50 + 3]
    assert len(second) == 0
    assert third.tolist() == list(range(400, 600))


def test_foreground_voxels_are_thinned_evenly() -> None:
    label = torch.ones(1, 40, 40, 40, dtype=torch.uint8)
    (voxels,) = ForegroundVoxels(2)({"label": label})["foreground"]
    assert len(voxels) == MAX_VOXELS_PER_CLASS == len(voxels.unique())
    assert (voxels[0], voxels[-1]) == (0, 40**3 - 1)
    assert voxels.diff().max() <= 7  # 6.4 on average


@pytest.mark.parametrize("count", [0, 1, 5, 12, 2**24 + 4, 20_000_004])
def test_spaced_indices_stay_within_the_class(count: int) -> None:
    places = evenly_spaced(count, 5)
    assert len(places) == min(count, 5) == len(places.unique())
    if count:
        assert places[0] == 0 and count - 2 <= places[-1] < count


def test_half_the_patches_are_centred_on_foreground_and_tiny_classes_get_their_share() -> None:
    # Class 1 is one voxel, class 2 a corner of 8^3 voxels; a random patch of 4^3 of 64^3 almost never meets class 1.
    label = torch.zeros(1, 64, 64, 64)
    label[0, 30, 31, 32] = 1
    label[0, 40:48, 40:48, 40:48] = 2
    item = item_of(label.clone(), label, 4)  # class 3 is absent
    crop = RandomPatch((4, 4, 4))
    crop.set_random_state(seed=0)
    centred = {0: 0, 1: 0, 2: 0}
    for _ in range(1000):
        centred[int(crop(item)["label"][0, 2, 2, 2])] += 1
    # Expected 500, 250, 250 with standard deviations of 16 and 14; random patches add less than 1.
    assert abs(centred[1] - 250) < 60
    assert abs(centred[2] - 250) < 60


def test_patch_is_cut_from_the_same_place_of_image_and_label() -> None:
    label = torch.arange(10 * 9 * 8).reshape(1, 10, 9, 8) % 7
    image = torch.stack([label[0] * 1.0, label[0] * 10.0])
    crop = RandomPatch((4, 6, 8))
    crop.set_random_state(seed=1)
    item = item_of(image, label, 7)
    for _ in range(20):
        patch = crop(item)
        assert patch["image"].shape == (2, 4, 6, 8)
        torch.testing.assert_close(patch["image"][:1], patch["label"])
        torch.testing.assert_close(patch["image"][1:], patch["label"] * 10)


def test_smaller_images_are_padded_and_kept_whole() -> None:
    image = torch.full((1, 5, 12, 3), 2.0)
    label = torch.ones(1, 5, 12, 3)
    crop = RandomPatch((8, 8, 8), padding_value=-7.0)
    crop.set_random_state(seed=0)
    places = set()
    for _ in range(40):
        patch = crop(item_of(image, label, 2))
        inside = patch["label"] == 1
        assert inside.sum() == 5 * 8 * 3
        assert (patch["image"][inside] == 2).all() and (patch["image"][~inside] == -7).all()
        places.add(tuple(torch.nonzero(inside)[0].tolist()))
    assert {place[1] for place in places} == {0, 1, 2, 3} and {place[3] for place in places} == set(range(6))


@pytest.mark.parametrize("shape", [(32, 24, 20), (32, 24)])
def test_image_and_label_stay_together(shape: tuple[int, ...]) -> None:
    # The image IS the label (and its opposite in a second channel), so whatever is done to the two must agree.
    label = blob(*shape)
    item = item_of(torch.cat([label, -label]) * 2, label, 2)
    patch = tuple(size // 4 * 3 // 4 * 4 for size in shape)
    transform = augmentation(plan_for(patch))
    changed = 0
    for seed in range(60):
        transform.set_random_state(seed=seed)
        result = transform(item)
        image, mask = result["image"], result["label"]
        assert image.shape == (2, *patch) and mask.shape == (1, *patch)
        assert type(image) is type(mask) is torch.Tensor
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        if 0 < mask.sum() < mask.numel():
            assert np.corrcoef(image[0].flatten(), mask.flatten())[0, 1] > 0.75
            assert np.corrcoef(image[1].flatten(), mask.flatten())[0, 1] < -0.75
        changed += not torch.equal(image[:1], mask * 2)
    assert 30 < changed < 60  # expected 60 * (1 - 0.8 * 0.9 * 0.9 * 0.85^3) = 36


def test_seed_decides() -> None:
    item = item_of(torch.randn(1, 20, 20, 20), blob(20, 20, 20), 2)
    transform = augmentation(plan_for((16, 16, 16)))

    def draw(seed: int) -> torch.Tensor:
        transform.set_random_state(seed=seed)
        return transform(item)["image"]

    first = [draw(seed) for seed in range(12)]
    for seed in reversed(range(12)):
        assert torch.equal(draw(seed), first[seed])
    assert not torch.equal(first[0], first[1])


def test_cases_are_not_changed_in_place() -> None:
    item = item_of(torch.randn(1, 16, 16, 16), blob(16, 16, 16), 2)
    before = {key: item[key].clone() for key in ("image", "label")}
    transform = augmentation(plan_for((16, 16, 16)))  # the patch is the whole case
    for seed in range(40):
        transform.set_random_state(seed=seed)
        transform(item)
    assert all(torch.equal(item[key], before[key]) for key in before)


@pytest.mark.parametrize(("spacing_mm", "mixes"), [((1, 1, 4), False), ((1, 1, 2), True)])
def test_thick_slices_are_not_mixed(spacing_mm: tuple[float, ...], mixes: bool) -> None:
    # An image that varies along the last axis alone still does after turning within the plane.
    ramp = torch.arange(16.0).expand(1, 16, 16, 16)
    item = item_of(ramp, torch.zeros(1, 16, 16, 16), 2)
    turn = augmentation(plan_for((16, 16, 16), spacing_mm)).transforms[1]
    spread = []
    for seed in range(30):
        turn.set_random_state(seed=seed)
        image = torch.as_tensor(turn({"image": item["image"], "label": item["label"]})["image"])
        spread.append(float(image.flatten(1, 2).std(1).max()))
    assert (max(spread) > 0.5) == mixes


def test_thick_slices_are_turned_within_their_plane() -> None:
    ramp = torch.arange(16.0)[:, None, None].expand(16, 16, 16)[None]
    turn = augmentation(plan_for((16, 16, 16), (1, 1, 4))).transforms[1]
    turned = 0
    for seed in range(50):
        turn.set_random_state(seed=seed)
        image = torch.as_tensor(turn({"image": ramp, "label": torch.zeros_like(ramp)})["image"])
        turned += float(image[0].std(1).max()) > 0.1
    assert 2 <= turned <= 20  # 10 expected


def test_ct_is_padded_with_air() -> None:
    plan = plan_for(
        (8, 8, 8), normalization="ct", intensity={"lower": -100, "upper": 200, "mean": 50, "std": 25}
    )
    item = item_of(torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, 4), 2)
    crop = augmentation(plan).transforms[0]
    crop.set_random_state(seed=0)
    patch = crop(item)["image"]
    assert (patch == 0).sum() == 64
    assert patch.min() == pytest.approx((-100 - 50) / 25)


def test_plain_tensors_drop_the_metadata_only() -> None:
    from monai.data import MetaTensor

    tensor = torch.randn(1, 4)
    result = PlainTensors(("a",))({"a": MetaTensor(tensor), "b": 1})
    assert type(result["a"]) is torch.Tensor and torch.equal(result["a"], tensor) and result["b"] == 1


@pytest.mark.parametrize("mirror_axes", [None, (), (0,), (2,)])
def test_only_the_axes_of_the_plan_are_mirrored(mirror_axes: tuple[int, ...] | None) -> None:
    # The image rises along every axis; turned by 30 degrees at most, it still does, unless it is mirrored.
    ramps = torch.stack(torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij"))
    item = item_of(ramps, blob(16, 16, 16), 2)
    transform = augmentation(plan_for((16, 16, 16), mirror_axes=mirror_axes))
    mirrored = set()
    for seed in range(30):
        transform.set_random_state(seed=seed)
        image = transform(item)["image"]
        mirrored |= {
            axis
            for axis in range(3)
            if image[axis].movedim(axis, 0)[-1].mean() < image[axis].movedim(axis, 0)[0].mean()
        }
    assert mirrored == ({0, 1, 2} if mirror_axes is None else set(mirror_axes))


def test_a_plan_mirrors_axes_that_exist() -> None:
    assert plan_for((8, 8)).mirrored == (0, 1)
    assert plan_for((8, 8), mirror_axes=(1,)).mirrored == (1,)
    with pytest.raises(ValueError, match=r"mirror_axes is \[2\]; expected some of \[0, 1\]"):
        plan_for((8, 8), mirror_axes=(2,))
