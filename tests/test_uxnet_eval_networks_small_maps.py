"""Baselines on feature maps smaller than their kernels: oneDNN leaves such gradients uninitialised in bfloat16."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from uxnet_eval.architectures.architecture import find_architecture
from uxnet_eval.config.plan import Plan
from uxnet_eval.networks.build import build_network
from uxnet_eval.networks.small_maps import EXACT, keep_exact_on_small_maps

PLAIN = [
    (nn.Conv2d(20, 40, 3, stride=2, padding=1), (1, 1)),
    (nn.Conv3d(20, 40, 3, padding=1), (2, 3, 2)),
    (nn.Conv3d(20, 40, 5, padding=2), (3, 5, 4)),
    (nn.Conv3d(20, 40, 3, stride=2, padding=1), (1, 1, 1)),
    (nn.ConvTranspose2d(20, 40, 3, stride=2, padding=1), (1, 1)),
    (nn.ConvTranspose3d(20, 40, 3, padding=1), (2, 2, 2)),
]


def poisoned() -> None:
    """Leaves free memory behind that holds large numbers."""
    for number in (10**3, 10**4, 10**5, 10**6):
        torch.full((number,), 1e27)


def gradient(network: nn.Module, x: Tensor, *, half: bool) -> list[Tensor]:
    """The gradients of all weights, for the mean square of the output."""
    network.zero_grad()
    poisoned()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = network(x)
    poisoned()
    output.float().square().mean().backward()
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize(
    ("plain", "size"), PLAIN, ids=lambda value: str(value) if isinstance(value, tuple) else ""
)
def test_gradients_on_maps_smaller_than_the_kernel(plain: nn.Module, size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 20, *size)
    exact = keep_exact_on_small_maps(copy.deepcopy(plain))
    assert type(exact) is EXACT[type(plain)]
    expected = gradient(plain, x, half=False)
    for _ in range(3):
        for actual, reference in zip(gradient(exact, x, half=True), expected, strict=True):
            torch.testing.assert_close(actual, reference, rtol=0.05, atol=0.05 * reference.abs().max().item())
    with torch.autocast("cpu", torch.bfloat16):
        assert exact(x).dtype == torch.bfloat16
    assert torch.equal(exact(x), plain(x))  # without autocast nothing changes


def test_the_deepest_level_of_unet_plus_plus_learns_from_the_image() -> None:
    """Its maps are 2x3x2 voxels on the hippocampus's patches: the gradient was up to 1e27 there."""
    torch.manual_seed(0)
    plan = Plan(
        spatial_dims=3, spacing_mm=(1.0,) * 3, patch_size=(40, 56, 40), strides=((2,) * 3,) * 3, batch_size=1
    )
    network = build_network(
        find_architecture("monai-unet++", plan.levels), plan, 1, 3, base_channels=4, max_channels=320
    )
    x = torch.randn(1, 1, 40, 56, 40)
    for _ in range(2):
        found = gradient(network, x, half=True)
        assert max(float(each.abs().max()) for each in found) < 1e3
