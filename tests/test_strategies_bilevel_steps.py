"""The phases of a search, and what its supernet makes of gates: weighed nodes, edges drawn, edges there or not."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from recorded_search import OPEN, THREE_LEVELS, batches, nothing, prepare, search, segmentation
from torch import Tensor

from search_space import UXNet
from search_space.grid import Edge, live_edges
from strategies.sampling import open_or_close
from strategies.supernet import Reach


def test_temperature_falls_after_the_warm_up_and_sharpens_the_softmax() -> None:
    strategy = search(
        epochs=6, warmup_epochs=1, num_images=2, alpha_learning_rate=0.1, final_temperature=0.25
    )
    rates = [step.learning_rates["alpha"] for step in strategy.steps("architecture")]
    # 0, 1/5 ... of the epochs are done, that is 0, 1/3, 2/3 and all of the cooling; alpha's rate falls with T.
    assert rates == pytest.approx([0.1, 0.1 * 0.25 ** (1 / 3), 0.1 * 0.25 ** (2 / 3), 0.025, 0.025])
    mixed = strategy.module.mixed_layers["N1.0/normal"]
    assert mixed.temperature == 0.25
    with torch.no_grad():
        mixed._arch_alpha.zero_()
        mixed._arch_alpha[0] = mixed.temperature * math.log(len(mixed._arch_alpha) - 1)
    weights = list(next(w for layer, w in strategy.alphas().items() if str(layer) == "N1.0/normal").values())
    assert weights[0] == pytest.approx(0.5)  # e^log(K - 1) against K - 1 times e^0


def test_rising_sparsity_weight() -> None:
    """With a loss that says nothing, gates move only once J weighs something: after the first epoch."""
    strategy = search(
        epochs=6, warmup_epochs=1, num_images=2, loss=nothing, beta=OPEN,
        sparsity_weight=2.0, sparsity_schedule="rising",
    )  # fmt: skip
    # 0 and 1/5 of the epochs are done: 0 and 1/3 of the rise. Three gates, each dJ/dbeta = -3/32 / 3 at the start.
    gradients = [step.gradients["beta"][0].item() for step in strategy.steps("architecture")]
    assert gradients[:2] == pytest.approx([0, 2 / 3 * -3 / 32 / 3], rel=1e-3)
    assert strategy.module.phase.sparsity_weight == 2.0


@pytest.mark.filterwarnings("ignore::strategies.pruning.RescueWarning")
@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("prune_threshold", [0.45, 0.5, 0.75])
def test_committed_supernet_is_the_derived_network(folded: bool, prune_threshold: float) -> None:
    strategy = search(
        THREE_LEVELS, epochs=5, warmup_epochs=1, commit=True, final_temperature=0.1, beta_learning_rate=0.05,
        prune_threshold=prune_threshold, folded=folded,
    )  # fmt: skip
    genotype = strategy.export()
    assert 0 < len(genotype.edges) < 11
    assert any(
        0.2 < gate < 0.8 for gate in strategy.gates().values()
    )  # so it is not the gates that are decided
    network = UXNet(THREE_LEVELS, genotype)
    network.inherit(strategy.supernet.state_dict())
    image = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(network(image), strategy.supernet(image), rtol=1e-4, atol=1e-5)


def test_commitment_chooses_operations_for_good_and_lets_gates_learn_on() -> None:
    strategy = search(epochs=6, warmup_epochs=1, num_images=2, commit=True, beta_learning_rate=0.3)
    steps = {step.before.epoch: step for step in strategy.steps("architecture")}
    # Epochs 1 to 5 follow the warm-up; before epoch 4, 3 of 5 are done: 60 %; before epoch 5, 80 %.
    assert list(steps) == [1, 2, 3, 4]

    def moved(epoch: int, kind: str) -> bool:
        before, after = getattr(steps[epoch].before, kind), getattr(steps[epoch].after, kind)
        return any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))

    assert [moved(epoch, "alphas") for epoch in steps] == [True, True, True, False]
    assert all(moved(epoch, "betas") for epoch in steps)
    assert strategy.steps("weights")[-1].before.epoch == 5


def test_a_closed_edge_keeps_its_gradient() -> None:
    """Straight-through: of 0 or 1 is computed what d sigma / d beta = 3/16 at 1/4 is the gradient of."""
    strategy, _ = prepare(beta=-OPEN)
    gate = next(iter(strategy.module.gates.values()))
    for is_open in (False, True):
        gate.is_open = is_open
        factor = gate.factor()
        assert factor.item() == float(is_open)
        assert torch.autograd.grad(2 * factor, gate.beta)[0].item() == pytest.approx(2 * 3 / 16)


def test_reach_by_hand() -> None:
    """Gates of 3/4 into N0.1, 1/4 from it and 1/2 from N0.0 into N1.1; all others closed."""
    strategy, _ = prepare(THREE_LEVELS, beta=-100.0)
    with torch.no_grad():
        for edge, gate in (("N0.0-N0.1", 0.75), ("N0.1-N1.1", 0.25), ("N0.0-N1.1", 0.5)):
            strategy.module.gates[edge].beta.fill_(math.log(gate / (1 - gate)))
        reach = {str(node): float(value) for node, value in strategy.supernet.node_weights.of_nodes().items()}
    expected = {"N0.1": 0.75, "N0.2": 0, "N1.0": 0, "N1.1": 1 - (1 - 0.75 / 4) * 0.5}
    assert reach == pytest.approx({"N0.0": 1, **expected, "N2.0": 1})  # input and output are always there


@pytest.mark.parametrize("folded", [True, False])
def test_a_node_behind_a_closed_gate_is_absent(folded: bool) -> None:
    """Rule (b) holds in the supernet: an open edge out of a node that nothing leads to gives nothing."""
    strategy, _ = prepare(THREE_LEVELS, beta=-100.0, folded=folded)
    image = torch.randn(2, 1, 8, 8)

    def output(*edges: str) -> Tensor:
        with torch.no_grad():
            for label, gate in strategy.module.gates.items():
                gate.beta.fill_(100.0 if label in edges else -100.0)
            return strategy.supernet(image)

    finest = "N0.0-N1.0", "N1.0-N2.0"
    torch.testing.assert_close(output(*finest, "N0.2-N1.0", "N0.2-N1.1", "N1.1-N2.0"), output(*finest))
    assert not torch.allclose(output(*finest, "N0.0-N0.2", "N0.2-N1.0"), output(*finest))


def test_the_only_gate_into_a_node_counts() -> None:
    """Instance norm takes no note of its input's scale; so the gate would not, if the node were not weighed."""
    strategy, _ = prepare(THREE_LEVELS)
    gate = strategy.module.gates["N0.0-N0.1"].beta
    image, target = next(iter(batches(THREE_LEVELS, 2, seed=3)))
    weighed = torch.autograd.grad(segmentation(strategy.supernet(image), target), gate)[0]
    strategy.supernet.node_weights = None
    unweighed = torch.autograd.grad(segmentation(strategy.supernet(image), target), gate)[0]
    assert abs(weighed) > 100 * abs(unweighed)


def sampled_edges(strategy: Any, num_steps: int) -> list[set[str]]:
    """Which edges are there in each of the steps of an epoch."""
    sets = []
    for step in range(num_steps):
        with strategy.module._sampled_edges(step):
            sets.append({label for label, gate in strategy.module.gates.items() if gate.is_open})
    return sets


def test_edges_are_drawn_with_the_probability_of_their_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, _ = prepare(THREE_LEVELS, sample_edges=True)
    monkeypatch.setattr(type(strategy.module), "trainer", SimpleNamespace(current_epoch=3, max_epochs=9))
    with torch.no_grad():
        for (
            label,
            gate,
        ) in strategy.module.gates.items():  # one path for certain, so that none has to be restored
            gate.beta.fill_(
                100.0 if label in ("N0.0-N1.0", "N1.0-N2.0") else OPEN if "N1.1" in label else -OPEN
            )
    steps = sampled_edges(strategy, 400)
    for label, gate in strategy.module.gates.items():
        share = sum(label in edges for edges in steps) / len(steps)
        assert share == pytest.approx(gate.gate().item(), abs=0.09)  # 400 draws: SD 0.022
    assert sampled_edges(strategy, 5) == steps[:5]  # as it would be after a restart
    assert all(gate.is_open is None for gate in strategy.module.gates.values())


def test_nothing_is_left_out_at_first_and_ever_more_over_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, _ = prepare(THREE_LEVELS, sample_edges=True, sample_operations=True, warmup_epochs=4)
    layer = strategy.module.mixed_layers["N0.1/reduction"]
    shares = {}
    for epoch in (0, 2, 4, 5):
        monkeypatch.setattr(
            type(strategy.module), "trainer", SimpleNamespace(current_epoch=epoch, max_epochs=9)
        )
        steps = sampled_edges(strategy, 200)
        num_operations = 0
        for step in range(200):
            with strategy.module._sampled_operations(step):
                assert layer.sampled
                num_operations += len(layer.sampled)
        shares[epoch] = sum(map(len, steps)) / 200 / 11, num_operations / 200 / 3
    assert shares[0] == (1, 1)
    # Gates of 1/2 and candidates: kept with probability 3/4 at half time, then 1/2; of three at least one, 1/24 more.
    assert shares[2] == pytest.approx((0.75, 0.75 + 0.25**3 / 3), abs=0.06)
    for epoch in (4, 5):
        assert shares[epoch] == pytest.approx((0.5, 0.5 + 0.5**3 / 3), abs=0.06)


def test_a_path_is_drawn_where_the_output_would_be_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, _ = prepare(THREE_LEVELS, sample_edges=True, beta=-5.0)
    monkeypatch.setattr(type(strategy.module), "trainer", SimpleNamespace(current_epoch=3, max_epochs=9))
    steps = sampled_edges(strategy, 50)
    assert all(live_edges(strategy.supernet.grid, map(Edge.parse, edges)) for edges in steps)
    assert len({tuple(sorted(edges)) for edges in steps}) > 3  # not always the same


def test_steps_see_sampled_edges_and_validation_does_not() -> None:
    seen: list[tuple[bool, list[bool | None]]] = []

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        seen.append((strategy.supernet.training, [gate.is_open for gate in strategy.module.gates.values()]))
        return segmentation(logits, target)

    strategy, _ = prepare(THREE_LEVELS, loss=loss, epochs=2, num_images=8, sample_edges=True)
    strategy.run()
    assert len(seen) == 2 * 4 * 2
    assert all(None not in opened for _, opened in seen)
    assert len({tuple(opened) for _, opened in seen}) > 8  # another draw for nearly every step
    assert all(gate.is_open is None for gate in strategy.module.gates.values())
    gradients = torch.tensor([step.gradients["beta"] for step in strategy.steps("architecture")])
    assert (
        gradients != 0
    ).float().mean() > 0.5  # closed edges have a gradient too, unless their target goes nowhere


@pytest.mark.parametrize("folded", [True, False])
def test_gradient_of_the_only_edge_into_a_node_tells_what_the_node_would_say(
    folded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed, its gradient is that of a step from 0 to 1 of the node's output, which the open edge computes."""
    strategy, _ = prepare(THREE_LEVELS, folded=folded)
    first = strategy.module.gates["N0.0-N0.1"]
    image, target = next(iter(batches(THREE_LEVELS, 2, seed=3)))

    def loss_and_gradient(*closed: str) -> tuple[float, float]:
        gates = strategy.module.gates
        values = {label: float(label not in closed) for label in gates}
        open_or_close(strategy.supernet.grid, gates, values, 0.5, ())
        loss = segmentation(strategy.supernet(image), target)
        return loss.item(), torch.autograd.grad(loss, first.beta)[0].item() / (3 / 16)

    with torch.no_grad():
        first.beta.fill_(OPEN)  # d sigma / d beta = 3/16
    others = "N0.1-N0.2", "N0.1-N1.0"  # so that the node's output goes one way, N1.1, alone
    without, gradient = loss_and_gradient("N0.0-N0.1", *others)
    assert first.is_open is False and first.target_is_cut_off
    gate = Reach.gate
    for step in (1e-2, 1e-3):  # the node's output times a small number instead of 0
        with monkeypatch.context() as patched:
            patched.setattr(
                Reach,
                "gate",
                lambda reach, edge, step=step: (
                    torch.tensor(step) if str(edge) == "N0.0-N0.1" else gate(reach, edge)
                ),
            )
            with_step = segmentation(strategy.supernet(image), target).item()
        slope = (with_step - without) / step
    assert gradient == pytest.approx(slope, rel=0.05)


def test_weight_steps_leave_operations_out_and_architecture_steps_do_not() -> None:
    seen: list[list[frozenset[str] | None]] = []

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        seen.append([layer.sampled for layer in strategy.module.mixed_layers.values()])
        return segmentation(logits, target)

    strategy, _ = prepare(loss=loss, num_images=40, sample_operations=True)
    strategy.run()
    assert len(seen) == 40
    assert all(drawn is None for step in seen[::2] for drawn in step)
    layers = list(strategy.module.mixed_layers.values())
    for layer, draws in zip(layers, zip(*seen[1::2], strict=True), strict=True):
        assert all(drawn and drawn <= set(layer.names) for drawn in draws)
        mean = sum(map(len, draws)) / len(draws) / len(layer.names)
        assert 0.3 < mean < 0.9  # 1/2, and more where at least one of two is there
        assert layer.sampled is None


@pytest.mark.parametrize("folded", [True, False])
def test_operations_that_are_left_out_leave_their_weight_to_the_others(folded: bool) -> None:
    strategy, _ = prepare(folded=folded)
    mixed = strategy.module.mixed_layers["N1.0/normal"]
    with torch.no_grad():
        mixed._arch_alpha[:2] = torch.tensor([math.log(3), 0.0])
        mixed.sampled = frozenset(mixed.names[:2])
        x = torch.randn(2, 2, 8, 8)
        first, second = (mixed[name](x) for name in mixed.names[:2])
        torch.testing.assert_close(mixed(x), 0.75 * first + 0.25 * second)
