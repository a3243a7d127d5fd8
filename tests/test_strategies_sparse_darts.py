"""SparseDARTS in real, tiny Lightning runs: what moves when, by how much, and why."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from recorded_search import OPEN, SMALL, THREE_LEVELS, batches, nothing, prepare, search
from torch import nn

from search_space import Genotype, UXNet
from search_space.grid import Edge
from strategies import SparseDARTS
from strategies.finite import Diverged
from strategies.gates import decided_share


def test_start_is_undecided() -> None:
    strategy, _ = prepare(THREE_LEVELS)
    assert list(strategy.gates().values()) == [0.5] * 11
    assert {str(edge) for edge in strategy.gates()} == {
        str(edge) for edge in strategy.supernet.searched_edges
    }
    for layer, weights in strategy.alphas().items():
        names = THREE_LEVELS.candidates(layer.kind)
        assert weights == pytest.approx(dict.fromkeys(names, 1 / len(names)))


def test_architecture_first_then_weights_on_every_batch() -> None:
    strategy = search(epochs=2, num_images=6)
    assert [step.kind for step in strategy.steps()] == [
        "architecture",
        "weights",
    ] * 6  # 2 epochs of 3 batches


def test_regulariser_has_a_live_gradient_in_the_real_step() -> None:
    """The runs differ in sparsity_weight alone: so do the gradients of the first step, by sparsity_weight * dJ/dbeta."""
    without = search(THREE_LEVELS, num_images=2, beta=OPEN, sparsity_weight=0.0).steps("architecture")[0]
    with_it = search(THREE_LEVELS, num_images=2, beta=OPEN, sparsity_weight=4.0).steps("architecture")[0]
    of_loss = torch.stack(without.gradients["beta"])
    of_regulariser = torch.stack(with_it.gradients["beta"]) - of_loss
    assert of_loss.abs().min() > 0  # the loss reaches every gate as well
    expected = 4.0 * (-3 / 32) / 11  # the mean over 11 edges
    assert of_regulariser.tolist() == pytest.approx([expected] * 11, abs=1e-6)
    for one, other in zip(without.gradients["alpha"], with_it.gradients["alpha"], strict=True):
        assert torch.equal(one, other)  # J is about edges


def test_regulariser_alone_opens_open_gates_and_closes_closed_ones() -> None:
    opened = search(loss=nothing, beta=OPEN, beta_learning_rate=0.1, num_images=8)
    closed = search(loss=nothing, beta=-OPEN, beta_learning_rate=0.1, num_images=8)
    assert min(opened.gates().values()) > 0.8
    assert max(closed.gates().values()) < 0.2


def test_weights_stand_still_in_the_architecture_step() -> None:
    for step in search(epochs=2).steps("architecture"):
        assert not step.moved("weights")
        assert step.moved("alphas") and step.moved("betas")


def test_weights_get_no_gradient_from_the_architecture_step() -> None:
    first, *others = search(epochs=2).steps("architecture")
    assert all(gradient is None for gradient in first.after.gradients)  # not even zeros
    for step in others:
        if all(
            gradient is None for gradient in step.before.gradients
        ):  # Lightning clears them between epochs
            assert all(gradient is None for gradient in step.after.gradients)
        else:  # what the weight step before has left is still there, untouched
            pairs = zip(step.before.gradients, step.after.gradients, strict=True)
            assert all(torch.equal(before, after) for before, after in pairs)


def test_architecture_stands_still_in_the_weight_step() -> None:
    strategy = search(epochs=2)
    for architecture, weights in zip(strategy.steps("architecture"), strategy.steps("weights"), strict=True):
        assert weights.moved("weights")
        assert not weights.moved("alphas") and not weights.moved("betas")
        for name in ("alpha", "beta"):
            pairs = zip(architecture.gradients[name], weights.gradients[name], strict=True)
            assert all(torch.equal(a, b) for a, b in pairs)


def test_every_weight_moves() -> None:
    first = search(THREE_LEVELS, num_images=2).steps("weights")[0]
    still = [
        i
        for i, (a, b) in enumerate(zip(first.before.weights, first.after.weights, strict=True))
        if torch.equal(a, b)
    ]
    assert still == []


def test_parameters_want_gradients_again_after_the_steps() -> None:
    strategy = search()
    assert all(parameter.requires_grad for parameter in strategy.module.parameters())


def test_what_the_user_has_frozen_stays_frozen() -> None:
    strategy, module = prepare()
    weight = module.model.head.weight.requires_grad_(False)
    before = weight.clone()
    strategy.run()
    assert not weight.requires_grad
    assert torch.equal(weight, before)


def test_warm_up_moves_weights_alone() -> None:
    strategy = search(epochs=3, warmup_epochs=2)
    assert [(step.kind, step.before.epoch) for step in strategy.steps()] == [
        ("weights", 0), ("weights", 0), ("weights", 1), ("weights", 1),
        ("architecture", 2), ("weights", 2), ("architecture", 2), ("weights", 2),
    ]  # fmt: skip
    start, warm = strategy.steps()[0].before, strategy.steps()[4].before
    for name in ("alphas", "betas"):
        assert not any(parameter.any() for parameter in getattr(warm, name))  # as at the start: zero
        assert all(parameter.any() for parameter in getattr(strategy.steps()[-1].after, name))
    assert any(not torch.equal(a, b) for a, b in zip(start.weights, warm.weights, strict=True))


def test_no_weight_decay_on_gates_and_alphas() -> None:
    """Nothing pulls: gates of 3/4 stay where they are, to the bit. The user's own optimizer decays weights, not gates."""
    strategy, _ = prepare(loss=nothing, beta=OPEN, sparsity_weight=0.0, epochs=3, weight_decay=0.5)
    for alpha in strategy.module.alphas():
        nn.init.constant_(alpha, 0.25)
    strategy.run()
    last = strategy.steps()[-1].after
    assert all(torch.equal(beta, torch.tensor(OPEN)) for beta in last.betas)
    assert all(torch.equal(alpha, torch.full_like(alpha, 0.25)) for alpha in last.alphas)
    assert strategy.steps("weights")[0].moved("weights")


def test_separate_learning_rates() -> None:
    """Adam's first step is as long as its learning rate, whatever the gradient."""
    settings = {"alpha_learning_rate": 3e-3, "beta_learning_rate": 7e-2, "sparsity_weight": 4.0}
    first = search(num_images=2, beta=OPEN, **settings).steps("architecture")[0]
    assert [p.item() - OPEN for p in first.after.betas] == pytest.approx([7e-2] * 3, rel=1e-3)  # J opens them
    for parameter in first.after.alphas:
        assert parameter.abs().tolist() == pytest.approx([3e-3] * len(parameter), rel=1e-2)


def test_a_learning_rate_of_zero_fixes_that_half() -> None:
    alphas_only = search(alpha_learning_rate=1e-2, beta_learning_rate=0.0).steps()[-1].after
    assert any(p.any() for p in alphas_only.alphas) and not any(p.any() for p in alphas_only.betas)
    betas_only = search(alpha_learning_rate=0.0, beta_learning_rate=1e-2).steps()[-1].after
    assert any(p.any() for p in betas_only.betas) and not any(p.any() for p in betas_only.alphas)


def test_cosine_schedule_of_one_and_constant_of_the_other() -> None:
    strategy = search(
        epochs=5, warmup_epochs=1, num_images=2,
        alpha_learning_rate=0.1, alpha_schedule="cosine", beta_learning_rate=0.3,
    )  # fmt: skip
    steps = strategy.steps("architecture")
    assert [step.before.epoch for step in steps] == [1, 2, 3, 4]
    # (1 + cos(pi k / 4)) / 2 for the four epochs after the warm-up; it would be 0 in the next.
    half_root = math.sqrt(2) / 4
    assert [step.learning_rates["alpha"] for step in steps] == pytest.approx(
        [0.1, 0.1 * (0.5 + half_root), 0.05, 0.1 * (0.5 - half_root)]
    )
    assert [step.learning_rates["beta"] for step in steps] == [0.3] * 4


def test_gradient_of_the_weights_is_clipped() -> None:
    def norm(gradient_clip_norm: float | None) -> float:
        step = search(num_images=2, gradient_clip_norm=gradient_clip_norm).steps("weights")[0]
        return torch.stack([g.norm() for g in step.after.gradients if g is not None]).norm().item()

    unclipped = norm(None)
    assert unclipped > 1e-2
    assert norm(1e-3) == pytest.approx(1e-3, rel=1e-2)
    assert norm(100.0) == pytest.approx(unclipped)


def test_validation_really_runs() -> None:
    strategy, module = prepare(epochs=3, num_images=4)
    strategy.run()
    assert module.num_validated == 3 * 4  # the architecture half, once an epoch


def test_validation_has_images_of_its_own() -> None:
    strategy, module = prepare(epochs=2, validation_dataloaders=batches(SMALL, 10, seed=5))
    strategy.run()
    assert module.num_validated == 2 * 10


@pytest.mark.filterwarnings("ignore::strategies.pruning.RescueWarning")
def test_thresholds_after_one_search_are_nested() -> None:
    strategy = search(THREE_LEVELS, epochs=6, sparsity_weight=4.0, beta_learning_rate=0.2)
    thresholds = [0.05, 0.2, 0.4, 0.5, 0.6, 0.8, 0.95]
    genotypes = [strategy.export(threshold) for threshold in thresholds]
    kept = [set(genotype.edges) for genotype in genotypes]
    assert all(more >= fewer for more, fewer in pairwise(kept))
    assert len(kept[0]) > len(kept[-1])
    assert strategy.export() == strategy.export(0.75) == strategy.export(strategy.settings.prune_threshold)


@pytest.mark.filterwarnings("ignore::strategies.pruning.RescueWarning")
def test_export_is_what_gates_and_alphas_say() -> None:
    strategy, _ = prepare(THREE_LEVELS, prune_threshold=0.7)
    with torch.no_grad():
        for edge, gate in strategy.module.gates.items():  # gates of .75 along the finest level, .25 elsewhere
            gate.beta.fill_(OPEN if edge in ("N0.0-N1.0", "N1.0-N2.0") else -OPEN)
        for label, mixed in strategy.module.mixed_layers.items():
            mixed._arch_alpha[1] = 1.0 if label == "N1.0/normal" else -1.0
    genotype = strategy.export(provenance={"data": "none"})
    assert list(map(str, genotype.edges)) == ["N0.0-N1.0", "N1.0-N2.0"]
    assert {str(layer): name for layer, name in genotype.operations.items()} == {
        "N0.0/normal": "conv3", "N1.0/normal": "conv5", "N2.0/normal": "conv3",
    }  # fmt: skip
    assert genotype.provenance == {"data": "none"}
    assert strategy.gates()[Edge.parse("N0.0-N1.0")] == pytest.approx(0.75)
    assert set(strategy.export(0.2).edges) == set(strategy.supernet.grid.edges)


def test_exported_network_inherits_from_the_supernet() -> None:
    strategy = search(THREE_LEVELS, epochs=2)
    with torch.no_grad():
        for gate in strategy.module.gates.values():
            gate.beta.fill_(100.0)  # gates of 1 and one-hot alphas: the supernet is the derived network
        for mixed in strategy.module.mixed_layers.values():
            mixed._arch_alpha.copy_(100.0 * torch.eye(len(mixed._arch_alpha))[1])
    genotype = strategy.export()
    assert len(genotype.edges) == 11
    network = UXNet(THREE_LEVELS, genotype)
    network.inherit(strategy.supernet.state_dict())
    image = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(network(image), strategy.supernet(image), rtol=1e-4, atol=1e-4)


def test_nni_lists_the_found_model_too() -> None:
    strategy = search(THREE_LEVELS, epochs=2)
    (found,) = strategy.list_models()
    genotype = strategy.supernet.genotype(found.sample)
    assert genotype.edges == strategy.export(0.5).edges
    assert genotype.operations == strategy.export(0.5).operations


def test_a_loss_of_nan_ends_the_search() -> None:
    strategy, _ = prepare(poison=True)
    with pytest.raises(Diverged, match=r"the loss is nan in epoch 1$"):
        strategy.run()
    assert [step.kind for step in strategy.steps()][-1] == "architecture"  # it was the weights' half


def test_strong_sparsity_decides_the_gates() -> None:
    weak = search(THREE_LEVELS, epochs=6, sparsity_weight=0.0, beta_learning_rate=0.2)
    strong = search(THREE_LEVELS, epochs=6, sparsity_weight=20.0, beta_learning_rate=0.2)
    assert decided_share(strong.gates().values()) == 1.0
    assert decided_share(weak.gates().values()) < 1.0
    values = strong.gates().values()
    assert max(values) > 0.8  # not simply everything closed


def test_cost_weight_prefers_cheap_candidates() -> None:
    """With no loss to learn from, the cheapest candidate wins everywhere and edges with weights close."""
    settings = {"loss": nothing, "epochs": 2, "sparsity_weight": 0.0}
    strategy = search(THREE_LEVELS, cost_weight=1.0, **settings)
    cheapest = {"normal": "conv3", "reduction": ("max_pool", "avg_pool"), "expansion": "interpolate"}
    for layer, weights in strategy.alphas().items():
        assert max(weights, key=weights.get) in cheapest[layer.kind]
        assert max(weights.values()) > 1 / len(weights) + 0.01
    # Each edge feeds layers that cost, so all close.
    assert all(gate < 0.5 for gate in strategy.gates().values())
    free = search(THREE_LEVELS, cost_weight=0.0, **settings)
    assert set(free.gates().values()) == {0.5}


def test_an_edge_that_is_worth_nothing_costs_its_share() -> None:
    """The gradient of edge_weight times the mean of 11 gates, at gates of 3/4, is edge_weight * 3/16 / 11."""
    settings = {"loss": nothing, "beta": OPEN, "num_images": 2, "sparsity_weight": 0.0}
    (step,) = search(THREE_LEVELS, edge_weight=2.0, **settings).steps("architecture")
    gradients = torch.stack(step.gradients["beta"])
    assert gradients.tolist() == pytest.approx([2.0 * 3 / 16 / 11] * 11)


def test_expected_cost_starts_at_one_and_follows_the_choices() -> None:
    strategy, _ = prepare(THREE_LEVELS, cost_weight=1.0)
    assert strategy.module.expected_cost().item() == pytest.approx(1.0)
    with torch.no_grad():
        strategy.module.mixed_layers["N1.0/normal"]._arch_alpha.copy_(
            torch.tensor([0.0, 100.0])
        )  # 5x5 for certain
    dearer = strategy.module.expected_cost().item()
    assert dearer > 1
    with torch.no_grad():
        strategy.module.gates["N0.2-N1.0"].beta.fill_(OPEN)  # the node is fed more often
    assert strategy.module.expected_cost().item() > dearer


def test_only_the_excess_over_the_target_is_charged() -> None:
    strategy, _ = prepare(THREE_LEVELS, cost_weight=1.0, cost_target=0.8)
    assert strategy.module.cost_penalty().item() == pytest.approx(0.25)
    strategy, _ = prepare(THREE_LEVELS, cost_weight=1.0, cost_target=2.0)
    assert strategy.module.cost_penalty().item() == 0


@pytest.mark.parametrize(("blocks", "edges"), [(True, False), (False, True)])
def test_either_half_can_be_searched_alone(blocks: bool, edges: bool) -> None:
    config = THREE_LEVELS.model_copy(update={"search_blocks": blocks, "search_edges": edges})
    strategy = search(config, epochs=5, commit=True)
    assert (len(strategy.alphas()) > 0, len(strategy.gates()) > 0) == (blocks, edges)
    genotype = strategy.export(0.5)
    UXNet(config, genotype)(torch.zeros(1, 1, 8, 8))


def test_nothing_to_search() -> None:
    config = SMALL.model_copy(update={"search_blocks": False, "search_edges": False})
    with pytest.raises(ValueError, match="nothing to search: the space has neither a mixed layer nor a gate"):
        search(config)


@pytest.mark.filterwarnings("ignore::strategies.pruning.RescueWarning")
def test_same_seed_same_search(tmp_path: Path) -> None:
    one, other = (search(THREE_LEVELS, epochs=2) for _ in range(2))
    assert one.gates() == other.gates() and one.alphas() == other.alphas()
    one.export().save(tmp_path / "genotype.json")
    assert Genotype.load(tmp_path / "genotype.json") == other.export()


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="sparsity"):
        SparseDARTS(sparsity=1.0)
