"""The folded supernet is the plain one: the same outputs and the same gradients, in float64 to 1e-9.

The plain one is computed with PyTorch's own operations throughout: nothing rearranged is compared with itself.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.config import SearchSpaceConfig
from search_space.kernels import convolution
from search_space.kernels.convolution import CHANNELS_LAST, plain_operations
from search_space.operations import default_candidates
from search_space.space import UXNetSpace
from strategies.mixed_layer import MixedLayer
from strategies.settings import StrategySettings
from strategies.sparse_darts import SparseDARTS

TOLERANCE = 1e-9
STEPS = ("both", "architecture", "weights")
"""Which parameters have gradients: all of them, or as in one of the two steps of a search."""


def twins(config: SearchSpaceConfig, seed: int = 0) -> tuple[Any, Any]:
    """The plain and the folded supernet in float64 with the same random weights, norms, alphas and betas."""
    torch.manual_seed(seed)
    space = UXNetSpace(config)
    networks = []
    for folded in (False, True):
        network = SparseDARTS(StrategySettings(folded=folded)).mutate_model(copy.deepcopy(space)).double()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in network.parameters():
                if (
                    parameter.ndim <= 1
                ):  # alphas, betas, and the norms' weights and biases: all constant at the start
                    parameter.add_(
                        torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=0.5
                    )
        networks.append(network)
    return networks[0], networks[1]


def loss_and_gradients(network: nn.Module, image: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    logits = network(image)
    F.cross_entropy(logits, target).backward()
    return logits, {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def assert_close(actual: Tensor, expected: Tensor, what: str) -> None:
    difference = (actual - expected).abs().max().item()
    assert difference <= TOLERANCE * max(1.0, expected.abs().max().item()), f"{what}: {difference:.3g}"


def assert_same_function(
    config: SearchSpaceConfig,
    size: tuple[int, ...],
    batch_size: int = 1,
    seed: int = 0,
    channels_last: bool = False,
    step: str = "both",
) -> dict[str, Tensor]:
    """Compares outputs and all gradients; returns the plain form's gradients."""
    plain, folded = twins(config, seed)
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch_size, config.in_channels, *size, dtype=torch.float64, generator=generator)
    target = torch.randint(config.num_classes, (batch_size, *size), generator=generator)
    moving = set()
    for network in (plain, folded):
        for name, parameter in network.named_parameters():
            is_architecture = "_arch_alpha" in name or name.endswith("beta")
            parameter.requires_grad_(step == "both" or is_architecture == (step == "architecture"))
            moving |= {name} if parameter.requires_grad else set()
    with plain_operations():
        expected, expected_gradients = loss_and_gradients(plain, image, target)
    if channels_last:
        image = image.to(memory_format=CHANNELS_LAST[image.ndim])
        folded = folded.to(memory_format=CHANNELS_LAST[image.ndim])
    actual, gradients = loss_and_gradients(folded, image, target)
    assert_close(actual, expected, "logits")
    assert gradients.keys() == expected_gradients.keys() == moving
    for name, gradient in expected_gradients.items():
        assert_close(gradients[name], gradient, f"gradient of {name}")
    return expected_gradients


@pytest.mark.parametrize(
    ("spatial_dims", "strides", "size", "channels_last"),
    [
        (2, None, (32, 48), True),
        (2, ((2, 2), (2, 1), (1, 2), (2, 2)), (16, 16), False),
        (3, None, (16, 16, 32), True),
        (3, ((2, 2, 1), (2, 2, 2), (1, 2, 2), (2, 1, 2)), (16, 16, 16), False),
    ],
)
def test_default_supernet(
    spatial_dims: int, strides: Any, size: tuple[int, ...], channels_last: bool
) -> None:
    """The paper's space of 79 choices: five levels, every candidate, every edge."""
    config = SearchSpaceConfig(
        spatial_dims=spatial_dims, strides=strides, base_channels=2, in_channels=1, num_classes=3
    )
    gradients = assert_same_function(config, size, channels_last=channels_last)
    architecture = [gradient for name, gradient in gradients.items() if "alpha" in name or "beta" in name]
    assert len(architecture) == 79
    assert all(gradient.abs().max() > 0 for gradient in architecture)  # else zeros would have been compared


@st.composite
def configurations(draw: st.DrawFn) -> SearchSpaceConfig:
    dims = draw(st.sampled_from((2, 3)))
    levels = draw(st.integers(2, 4 if dims == 3 else 5))
    axes = st.tuples(*[st.sampled_from((1, 2))] * dims).filter(lambda stride: max(stride) == 2)

    def some(kind: str) -> st.SearchStrategy[tuple[str, ...]]:
        return st.lists(st.sampled_from(default_candidates(kind, dims)), min_size=1, unique=True).map(tuple)

    return SearchSpaceConfig(
        spatial_dims=dims,
        levels=levels,
        strides=tuple(draw(axes) for _ in range(levels - 1)),
        in_channels=draw(st.integers(1, 3)),
        num_classes=draw(st.integers(2, 4)),
        base_channels=draw(st.integers(1, 3)),
        max_channels=draw(st.sampled_from((4, 320))),
        normal_candidates=draw(some("normal")),
        reduction_candidates=draw(some("reduction")),
        expansion_candidates=draw(some("expansion")),
        search_blocks=draw(st.booleans()),
        search_edges=draw(st.booleans()),
    )


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(
    config=configurations(),
    batch_size=st.integers(1, 2),
    seed=st.integers(0, 99),
    channels_last=st.booleans(),
    step=st.sampled_from(STEPS),
    factors=st.permutations((3, 1, 2)),
)
def test_any_configuration(
    config: SearchSpaceConfig,
    batch_size: int,
    seed: int,
    channels_last: bool,
    step: str,
    factors: tuple[int, ...],
) -> None:
    # Odd and even numbers of voxels at the lowest level, kernels larger than it, and at least 2 voxels for the norm.
    size = tuple(divisor * factor for divisor, factor in zip(config.divisor, factors, strict=False))
    if not (config.search_blocks or config.search_edges):
        step = "weights"
    assert_same_function(config, size, batch_size, seed, channels_last, step)


def test_pairs_and_phases_are_among_what_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the comparison with channels-last memory would be one of PyTorch's operations with themselves."""
    seen = set()
    split = convolution._split
    monkeypatch.setattr(
        convolution, "_split", lambda x, rate, paired: seen.add((rate, paired)) or split(x, rate, paired)
    )
    config = SearchSpaceConfig(levels=2, base_channels=2, num_classes=3)
    assert_same_function(config, (8, 8, 8), channels_last=True)
    assert seen == {(1, True), (2, True)}


@pytest.mark.parametrize(
    ("spatial_dims", "strides"), [(2, None), (3, None), (3, ((2, 2, 1), (1, 2, 2), (2, 2, 2)))]
)
def test_architecture_step(spatial_dims: int, strides: Any) -> None:
    """With the weights fixed, alphas and betas get the gradients of the plain form, and nothing else gets any."""
    config = SearchSpaceConfig(
        spatial_dims=spatial_dims, levels=4, strides=strides, base_channels=2, num_classes=3
    )
    networks = twins(config)
    image = torch.randn(2, 1, *(16,) * spatial_dims, dtype=torch.float64)
    target = torch.randint(3, (2, *image.shape[2:]))
    for network in networks:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_("alpha" in name or "beta" in name)
    (expected, expected_gradients), (actual, gradients) = (
        loss_and_gradients(network, image, target) for network in networks
    )
    assert_close(actual, expected, "logits")
    assert gradients.keys() == expected_gradients.keys()
    assert len(gradients) == len(config.grid.edges) + len(config.grid.layers)
    for name, gradient in expected_gradients.items():
        assert_close(gradients[name], gradient, f"gradient of {name}")


def test_random_start_differs() -> None:
    """The comparison can fail: another alpha gives another output."""
    plain, folded = twins(SearchSpaceConfig(spatial_dims=2, levels=2, base_channels=2))
    layer = next(m for m in folded.modules() if isinstance(m, MixedLayer))
    image = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(plain(image), folded(image))
        layer._arch_alpha[0] += 1e-3
        assert (plain(image) - folded(image)).abs().max() > 1e-7


class SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes that a forward pass keeps for the backward pass, each storage once."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}
        super().__init__(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor


@pytest.mark.parametrize("step", ["architecture", "weights"])
def test_checkpointing_changes_no_number_and_keeps_less(step: str) -> None:
    config = SearchSpaceConfig(spatial_dims=2, levels=3, base_channels=4, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 1, 32, 32, dtype=torch.float64, generator=generator)
    target = torch.randint(3, (2, 32, 32), generator=generator)
    kept, results = [], []
    for num_levels in (0, 1, 3):
        _, network = twins(config)
        network.checkpointed_levels = num_levels
        for name, parameter in network.named_parameters():
            is_architecture = "_arch_alpha" in name or name.endswith("beta")
            parameter.requires_grad_(is_architecture == (step == "architecture"))
        saved = SavedBytes()
        with saved:
            loss = F.cross_entropy(network(image), target)
        loss.backward()
        kept.append(sum(saved.storages.values()))
        results.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    assert kept[0] > 1.3 * kept[1] > 1.3 * kept[2]
    for gradients in results[1:]:
        assert gradients.keys() == results[0].keys()
        for name, gradient in gradients.items():
            assert torch.equal(gradient, results[0][name]), name
