"""Gates and their regulariser: values by hand, and its gradient against finite differences."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from search_space import nni_first  # noqa: F401  # isort: skip
from nni.mutable import frozen_context
from nni.nas.nn.pytorch import InputChoice, LayerChoice
from torch import nn

from strategies.gates import SigmoidGate, decided_share, sparsity

torch.set_num_threads(1)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_gradcheck_of_the_regulariser() -> None:
    torch.manual_seed(0)
    betas = (3 * torch.randn(50, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(sparsity, betas, eps=1e-6, atol=1e-9, rtol=1e-6)
    assert torch.autograd.gradgradcheck(sparsity, betas)


@pytest.mark.parametrize(
    ("betas", "expected"),
    [
        ((0.0,), 0.0),  # undecided
        ((math.inf,), -0.25),  # kept
        ((-math.inf,), -0.25),  # dropped
        ((math.log(3),), -0.0625),  # sigma = 3/4
        ((-math.log(3),), -0.0625),  # sigma = 1/4
        ((math.log(9),), -0.16),  # sigma = 0.9
        ((0.0, math.inf, math.log(3), -math.inf), -(0 + 0.25 + 0.0625 + 0.25) / 4),  # the mean over the edges
    ],
)
def test_values_of_the_regulariser_by_hand(betas: tuple[float, ...], expected: float) -> None:
    assert sparsity(double(*betas)).item() == pytest.approx(expected, abs=1e-15)


def test_least_value_is_a_quarter_and_undecided_the_worst() -> None:
    half = torch.linspace(0, 40, 1001, dtype=torch.float64)
    grid = torch.cat([-half.flip(0), half[1:]])
    values = torch.stack([sparsity(beta[None]) for beta in grid])
    assert values.min() == -0.25
    assert values.max() == 0 and grid[values.argmax()] == 0
    torch.testing.assert_close(
        values, values.flip(0), rtol=0, atol=1e-15
    )  # keeping and dropping are worth the same


def test_gradient_of_the_regulariser_by_hand() -> None:
    # dJ/dbeta = -2 (s - 1/2) s (1 - s); s = 3/4 gives -2 * 1/4 * 3/16 = -3/32, over two edges half of that.
    betas = double(math.log(3), 0.0).requires_grad_()
    sparsity(betas).backward()
    assert betas.grad.tolist() == pytest.approx(
        [-3 / 64, 0.0], abs=1e-15
    )  # descending opens an open gate further


def test_decided_share() -> None:
    assert (
        decided_share([0.0, 0.19, 0.2, 0.5, 0.8, 0.81, 1.0, 0.3]) == 4 / 8
    )  # the borders themselves are undecided
    assert decided_share(iter([0.1, 0.5])) == 0.5
    assert decided_share([]) == 1.0


@pytest.fixture(autouse=True)
def _choices_outside_of_a_space() -> Iterator[None]:
    """NNI's choices want a context to be made in, as its strategies give them."""
    with frozen_context():
        yield


def gate(beta: float) -> SigmoidGate:
    return SigmoidGate(nn.Parameter(torch.tensor(beta, dtype=torch.float64)), "N0.2-N1.0")


def test_forward_is_the_gated_term() -> None:
    a, b = double(8.0, -4.0), double(0.0, 4.0)
    assert gate(math.log(3))([a, b]).tolist() == pytest.approx([2.0, 2.0], abs=1e-14)  # a/4 + 3b/4
    assert gate(0.0)([torch.zeros(2).double(), b]).tolist() == [0.0, 2.0]
    assert gate(math.inf)([a, b]).tolist() == b.tolist()
    assert gate(-math.inf)([a, b]).tolist() == a.tolist()


def test_gradient_of_the_forward() -> None:
    module = gate(0.3)
    nothing, feature = torch.zeros(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)

    def forward(beta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, {"beta": beta}, ([nothing, x],))

    inputs = (module.beta.detach().clone().requires_grad_(), feature.requires_grad_())
    assert torch.autograd.gradcheck(forward, inputs)


def test_precision_of_the_features_is_kept() -> None:
    x = torch.ones(2, dtype=torch.bfloat16)
    assert (
        SigmoidGate(nn.Parameter(torch.zeros(())), "N0.0-N0.1")([torch.zeros_like(x), x]).dtype
        == torch.bfloat16
    )


def test_what_nni_is_told() -> None:
    assert gate(0.5).export({}) == {"N0.2-N1.0": [1]}
    assert gate(-0.5).export({}) == {"N0.2-N1.0": [0]}
    assert gate(math.log(3)).export_probs({})["N0.2-N1.0"] == pytest.approx({0: 0.25, 1: 0.75})
    assert gate(0.5).export({"N0.2-N1.0": [0]}) == {}  # another module of the same label has told it
    assert gate(0.5).resample({}) == {}


def test_takes_the_place_of_binary_choices_alone() -> None:
    beta = nn.Parameter(torch.zeros(()))
    memo = dict.fromkeys(["edge", "of three", "any", "layer"], beta)
    taken = SigmoidGate.mutate(InputChoice(2, n_chosen=1, label="edge"), "x", memo, {})
    assert isinstance(taken, SigmoidGate) and taken.beta is beta and taken.label == "edge"
    assert taken.arch_parameters() == [beta]
    others = [
        InputChoice(3, n_chosen=1, label="of three"),
        InputChoice(2, n_chosen=None, label="any"),
        LayerChoice({"a": nn.Identity(), "b": nn.Identity()}, label="layer"),
        nn.Conv3d(1, 1, 1),
        taken,
    ]
    assert [SigmoidGate.mutate(module, "x", memo, {}) for module in others] == [None] * 5
