"""The mixed layer: each way in which a candidate can enter it, against the plain weighted sum."""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from typing import Any

import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import Tensor, nn

from search_space.layers import build_operation
from search_space.operations import default_candidates
from strategies.folding import folded_convolution
from strategies.folding.kernel_sum import add_kernels
from strategies.mixed_layer import LinearCandidate, MixedLayer, ScaledCandidate
from strategies.settings import StrategySettings
from strategies.sparse_darts import SparseDARTS


class Squared(nn.Module):
    """A user's own candidate: not linear, and with neither ``kernel`` nor ``scaled``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x).square()


class Shifted(nn.Module):
    """A user's own linear candidate: takes its left neighbour."""

    dilation = 1
    stride = (1, 1)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(channels))

    def kernel(self) -> Tensor:
        kernel = self.factor.new_zeros(len(self.factor), len(self.factor), 3, 3)
        kernel[:, :, 1, 0] = torch.diag(self.factor)
        return kernel

    def forward(self, x: Tensor) -> Tensor:
        shifted = torch.zeros_like(x)
        shifted[..., 1:] = x[..., :-1]
        return shifted * self.factor[:, None, None]


class OneLayer(ModelSpace):
    """A space with a single choice."""

    def __init__(self, candidates: dict[str, nn.Module]) -> None:
        super().__init__()
        self.layer = LayerChoice(candidates, label="layer")

    def share_aggregation(self, gate: Any) -> None:
        """Has no edges."""


def mixed(candidates: dict[str, nn.Module], folded: bool, seed: int = 0) -> MixedLayer:
    layer = SparseDARTS(StrategySettings(folded=folded)).mutate_model(OneLayer(candidates)).layer
    assert type(layer) is MixedLayer
    torch.manual_seed(seed)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer.double()


def assert_folded_is_plain(make: Any, x: Tensor, only_alpha: bool = False) -> None:
    results = []
    for folded in (False, True):
        layer = mixed(make(), folded)
        if only_alpha:
            for name, parameter in layer.named_parameters():
                parameter.requires_grad_(name == "_arch_alpha")
        inputs = [x.clone().requires_grad_()] + [p for p in layer.parameters() if p.requires_grad]
        y = layer(inputs[0])
        generator = torch.Generator().manual_seed(1)
        g = torch.randn(y.shape, dtype=y.dtype, generator=generator)
        results.append([y, *torch.autograd.grad(y, inputs, g)])
    assert len(results[0]) == len(results[1]) >= 3
    for plain, folded_one in zip(*results, strict=True):
        torch.testing.assert_close(folded_one, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("only_alpha", [False, True])
@pytest.mark.parametrize(
    ("kind", "stride"),
    [
        ("normal", (1, 1)),
        ("normal", (1, 1, 1)),
        ("reduction", (2, 1)),
        ("reduction", (1, 2, 2)),
        ("expansion", (2, 2)),
        ("expansion", (2, 1, 2)),
    ],
)
def test_all_candidates_of_a_layer(kind: str, stride: tuple[int, ...], only_alpha: bool) -> None:
    dims = len(stride)
    torch.manual_seed(2)
    x = torch.randn(2, 3, *(6, 8, 4)[:dims], dtype=torch.float64)
    assert_folded_is_plain(
        lambda: {name: build_operation(name, 3, 4, stride) for name in default_candidates(kind, dims)},
        x,
        only_alpha,
    )


@pytest.mark.parametrize("only_alpha", [False, True])
def test_candidates_of_a_users_own(only_alpha: bool) -> None:
    """One without any protocol falls back to the weighted sum; one with a kernel is folded with the others."""
    assert not isinstance(Squared(3, 3), (LinearCandidate, ScaledCandidate))
    assert isinstance(Shifted(3), LinearCandidate)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    assert_folded_is_plain(
        lambda: {
            "squared": Squared(3, 3),
            "shifted": Shifted(3),
            "conv5": build_operation("conv5", 3, 3, (1, 1)),
            "conv3": build_operation("conv3", 3, 3, (1, 1)),
        },
        x,
        only_alpha,
    )
    assert_folded_is_plain(lambda: {"squared": Squared(3, 3), "again": Squared(3, 3)}, x, only_alpha)


def test_a_candidate_with_a_kernel_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folded, seven candidates are three convolutions (and the two of 2 x 3x3x3 count as one more)."""
    layer = mixed(
        {n: build_operation(n, 2, 2, (1, 1, 1)) for n in default_candidates("normal", 3)}, folded=True
    )
    for name in layer.names:
        if isinstance(layer[name], LinearCandidate):
            monkeypatch.setattr(layer[name], "forward", lambda x: pytest.fail("computed by itself"))
    calls = []
    convolution = folded_convolution.same_convolution
    monkeypatch.setattr(
        folded_convolution, "same_convolution", lambda *args: calls.append(args) or convolution(*args)
    )
    layer(torch.randn(1, 2, 4, 4, 4, dtype=torch.float64))
    assert [(tuple(kernel.shape[2:]), dilation) for _, kernel, dilation in calls] == [
        ((5, 5, 5), 1),
        ((5, 5, 5), 2),
    ]


def test_a_vanished_weight_of_the_largest_kernel_leaves_gradients_finite() -> None:
    layer = mixed({n: build_operation(n, 2, 2, (1, 1)) for n in ("conv3", "conv5")}, folded=True)
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(name == "_arch_alpha")
    with torch.no_grad():
        layer._arch_alpha.copy_(torch.tensor([0.0, -1e4]))  # softmax: exactly 1 and 0
    layer(torch.randn(1, 2, 5, 5, dtype=torch.float64)).square().sum().backward()
    torch.testing.assert_close(layer._arch_alpha.grad, torch.zeros(2, dtype=torch.float64))


def test_kernels_add_up_around_their_centres() -> None:
    one, three = torch.full((1, 1, 1, 1), 2.0), torch.ones(1, 1, 3, 1)
    total = add_kernels([(torch.tensor(0.5), one), (torch.tensor(3.0), three)])
    assert total.tolist() == [[[[3.0], [4.0], [3.0]]]]
    row = torch.tensor([[[[1.0, 2.0, 3.0]]]])  # neither covers the other: the common support is 3x3
    total = add_kernels([(torch.tensor(1.0), row), (torch.tensor(10.0), three)])
    assert total.tolist() == [[[[0.0, 10.0, 0.0], [1.0, 12.0, 3.0], [0.0, 10.0, 0.0]]]]


def test_gradients_of_the_kernel_sum() -> None:
    torch.manual_seed(0)
    kernels = [
        torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True) for size in ((3, 1), (5, 3), (1, 5))
    ]
    weights = [torch.rand((), dtype=torch.float64, requires_grad=True) for _ in kernels]
    assert torch.autograd.gradcheck(
        lambda *t: add_kernels(list(zip(t[:3], t[3:], strict=True))), (*weights, *kernels)
    )
