"""Search by measurement: shared weights, random architectures within limits, evolution, the front."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from random import Random

import pytest
import torch

from search_space import Genotype, SearchSpaceConfig, UserError, UXNet
from search_space.activations import genotype_activations, smallest_activations
from search_space.cost import Cost, genotype_cost, smallest_cost
from search_space.presets import unet, unet_edges
from search_space.space import UXNetSpace
from strategies.single_path.evolution import evolve
from strategies.single_path.front import Candidate, best_within, front
from strategies.single_path.limits import Limits
from strategies.single_path.sampling import MAX_DRAWS, MAX_IDLE, Sampler
from strategies.single_path.shared_weights import SharedWeights
from uxnet_eval.search.single_path_module import anchor_of

PATCH = {2: (16, 16), 3: (16, 16, 8)}


def extended(dims: int = 3, levels: int = 3, **settings: object) -> SearchSpaceConfig:
    values: dict[str, object] = {
        "spatial_dims": dims,
        "levels": levels,
        "base_channels": 4,
        "width_choices": (0.5, 1.0, 1.5),
        "anchored_edges": True,
        "edge_scale": True,
        "pass_through": True,
    }
    return SearchSpaceConfig(**(values | settings))


def shared(config: SearchSpaceConfig) -> SharedWeights:
    torch.manual_seed(0)
    widest = config.model_copy(update={"widths": (max(config.width_choices),) * config.levels})
    supernet = UXNetSpace(widest)
    return SharedWeights(supernet, lambda each: UXNet(config, each), supernet.fixed_operations).double()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_shared_weights_give_the_output_of_a_network_with_the_leading_channels(dims: int, seed: int) -> None:
    config = extended(dims)
    weights, genotype = shared(config), Sampler(config).draw(Random(seed))
    network = UXNet(config, genotype).double()
    state = {}
    for name, value in network.state_dict().items():
        part, _, rest = name.partition(".")
        whole = name
        if part == "layers":
            key, _, inner = rest.partition(".")
            operation = {str(k).replace(".", "_"): v for k, v in genotype.operations.items()}[key]
            whole = f"layers.{key}.{operation}.{inner}"
        taken = weights.supernet.state_dict()[whole]
        for axis, size in enumerate(value.shape):
            taken = taken.narrow(axis, 0, size)
        state[name] = taken
    network.load_state_dict(state)
    image = torch.randn(1, 1, *(2 * size for size in PATCH[dims]), dtype=torch.float64)
    assert torch.allclose(weights(genotype, image), network(image), rtol=0, atol=1e-12)
    own = weights.network(genotype).double()
    assert torch.allclose(own(image), network(image), rtol=0, atol=1e-12)


def test_only_what_a_network_uses_gets_a_gradient() -> None:
    config = extended(levels=2, normal_candidates=("conv3", "2xconv3"))
    weights = shared(config)
    operations = dict.fromkeys(config.grid.layers, "conv3")
    operations |= {layer: "max_pool" for layer in config.grid.layers if layer.kind == "reduction"}
    operations |= {layer: "interpolate" for layer in config.grid.layers if layer.kind == "expansion"}
    narrow = Genotype.from_choices(2, unet_edges(2), operations, widths=(0.5, 1.0), edge_scale=True)
    weights(narrow, torch.randn(1, 1, 16, 16, 8, dtype=torch.float64)).square().mean().backward()
    used = dict(weights.supernet.named_parameters())
    gradient = used["layers.N0_1/normal.conv3.conv.weight"].grad
    assert gradient[:8, :8].any()  # 4 * 2 * 1.0 of 12 channels
    assert not gradient[8:].any()
    assert not gradient[:, 8:].any()
    assert used["layers.N0_1/normal.2xconv3.0.conv.weight"].grad is None


def test_a_genotype_of_another_space_is_refused() -> None:
    weights = shared(extended(normal_candidates=("conv3", "2xconv3")))
    with pytest.raises(UserError, match="is not in the supernet: the genotype is of another space"):
        weights(Sampler(extended(normal_candidates=("conv5",))).draw(Random(0)), torch.zeros(1, 1, 16, 16, 8))


def test_layers_that_are_not_searched_share_their_weights_too() -> None:
    config = extended(levels=2, search_edges=False, search_blocks=False)
    weights, image = shared(config), torch.randn(1, 1, 16, 16, 8, dtype=torch.float64)
    narrow, wide = (
        Genotype.from_choices(2, unet(2).edges, unet(2).operations, widths=widths, edge_scale=True)
        for widths in ((0.5, 0.5), (1.5, 1.5))
    )
    whole = weights.supernet.get_parameter("layers.N0_0/normal.0.conv.weight")
    assert weights.weights(wide)["layers.N0_0/normal.0.conv.weight"].shape == whole.shape
    assert torch.equal(weights.weights(narrow)["layers.N0_0/normal.0.conv.weight"], whole[:2])
    assert torch.allclose(weights(narrow, image), weights.network(narrow).double()(image), rtol=0, atol=1e-12)
    other = dict.fromkeys(config.grid.layers, "conv3") | {
        layer: unet(2).operations[layer] for layer in config.grid.layers if layer.kind != "normal"
    }
    with pytest.raises(UserError, match="is not in the supernet"):
        weights(Genotype.from_choices(2, unet(2).edges, other, widths=(0.5, 0.5), edge_scale=True), image)


def test_a_start_that_comes_no_nearer_to_the_limits_is_given_up() -> None:
    asked: list[Genotype] = []

    def excess(genotype: Genotype) -> float:
        asked.append(genotype)
        return 1.0

    with pytest.raises(UserError, match="no random architecture was found within the limits"):
        Sampler(extended(levels=2)).draw(Random(0), excess)
    assert len(asked) <= MAX_DRAWS * (MAX_IDLE + 1)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
def test_random_architectures_keep_the_limits(share: float) -> None:
    config = extended(levels=4, base_channels=8)
    budget = share * genotype_cost(unet(4), config, (32, 32, 32)).multiply_adds
    limits = Limits(config, (32, 32, 32), multiply_adds=budget, least_share=0.8)
    drawn = [Sampler(config).draw(Random(seed), limits.excess) for seed in range(20)]
    assert all(0.8 * budget <= limits.cost(genotype).multiply_adds <= budget for genotype in drawn)
    assert len(set(drawn)) == 20
    assert drawn[3] == Sampler(config).draw(Random(3), limits.excess)


def test_activations_are_a_hard_limit() -> None:
    config = extended(levels=4, base_channels=8)
    most = genotype_activations(unet(4), config, (32, 32, 32))
    limits = Limits(config, (32, 32, 32), activations=most, least_share=0.8)
    drawn = [Sampler(config).draw(Random(seed), limits.excess) for seed in range(20)]
    used = [genotype_activations(genotype, config, (32, 32, 32)) for genotype in drawn]
    assert all(0.8 * most <= each <= most for each in used)


def test_every_choice_occurs() -> None:
    config = extended(dims=2, levels=3)
    genotypes = [Sampler(config).draw(Random(seed)) for seed in range(300)]
    assert {edge for each in genotypes for edge in each.edges} == set(config.grid.edges)
    assert {width for each in genotypes for width in each.widths or ()} == {0.5, 1.0, 1.5}
    for layer in config.grid.layers:
        found = {each.operations[layer] for each in genotypes if layer in each.operations}
        assert found == set(config.layer_candidates(layer))


def test_architectures_near_the_unet() -> None:
    config = extended(levels=4, search_edges=True, anchored_edges=False, pass_through=True)
    near, far = Sampler(config, unet_share=1.0), Sampler(config)
    assert near.genotype(near.unet) == anchor_of(config)

    def kept(sampler: Sampler) -> list[float]:
        draws = [sampler.draw_choices(Random(seed))[0] for seed in range(200)]
        return [sum(each[name] == value for name, value in near.unet.items()) / len(each) for each in draws]

    assert max(kept(near)) > 0.95
    assert sum(kept(near)) > sum(kept(far)) + 0.1 * 200  # half of the rest is kept on average


@pytest.mark.parametrize("is_anchored", [False, True])
def test_smallest_cost_by_brute_force(is_anchored: bool) -> None:
    config = extended(levels=2, anchored_edges=is_anchored, normal_candidates=("conv3", "conv3x3x1"))
    sampler, costs, activations = Sampler(config), [], []
    for values in itertools.product(*sampler.choices.values()):
        try:
            genotype = sampler.genotype(dict(zip(sampler.choices, values, strict=True)))
        except UserError:
            continue
        costs.append(genotype_cost(genotype, config, (8, 8, 8)))
        activations.append(genotype_activations(genotype, config, (8, 8, 8)))
    least = smallest_cost(config, (8, 8, 8))
    assert smallest_activations(config, (8, 8, 8)) == min(activations)
    assert least.parameters == min(cost.parameters for cost in costs)
    assert least.multiply_adds == min(cost.multiply_adds for cost in costs)


def test_a_budget_that_nothing_meets_names_the_smallest_cost() -> None:
    config = extended()
    least = smallest_cost(config, (16, 16, 8)).multiply_adds
    Limits(config, (16, 16, 8), multiply_adds=least).check()
    with pytest.raises(UserError, match=rf"at most 100 multiply-adds; the smallest needs {least:,}"):
        Limits(config, (16, 16, 8), multiply_adds=100).check()
    with pytest.raises(UserError, match=r"at most 100 activations; the smallest needs [\d,]+"):
        Limits(config, (16, 16, 8), activations=100).check()


def evolved(seed: int, config: SearchSpaceConfig, num_measured: int = 60) -> list[Genotype]:
    limits, seen = Limits(config, (16, 16, 8), multiply_adds=2e6), []

    def measure(genotype: Genotype) -> float:
        seen.append(genotype)
        return sum(name == "pseudo3d" for name in genotype.operations.values())

    evolve(
        Sampler(config), measure, excess=limits.excess, num_measured=num_measured, population=12, seed=seed
    )
    return seen


def test_evolution_finds_the_planted_operation_within_the_limits() -> None:
    config = extended(normal_candidates=("conv3", "pseudo3d", "2xconv3"))
    seen = evolved(0, config)
    assert len(seen) == len(set(seen)) == 60
    assert all(genotype_cost(genotype, config, (16, 16, 8)).multiply_adds <= 2e6 for genotype in seen)

    def planted(genotype: Genotype) -> int:
        return sum(name == "pseudo3d" for name in genotype.operations.values())

    assert max(map(planted, seen[12:])) > max(map(planted, seen[:12]))
    assert seen == evolved(0, config)
    assert seen != evolved(1, config)


def candidate(dice: float, multiply_adds: int, parameters: int = 10) -> Candidate:
    return Candidate(unet(3), dice, Cost(parameters, multiply_adds))


def test_front_by_hand() -> None:
    cheap, good, best = candidate(0.7, 10), candidate(0.8, 20), candidate(0.9, 40)
    beaten, equal = candidate(0.75, 30), candidate(0.8, 25)
    assert front([best, beaten, good, equal, cheap]) == [cheap, good, best]


@pytest.mark.parametrize(
    ("limits", "dice"),
    [
        ({}, 0.9),
        ({"multiply_adds": 39}, 0.8),
        ({"parameters": 10}, 0.8),
        ({"multiply_adds": 20, "parameters": 10}, 0.8),
    ],
)
def test_best_within_limits(limits: Mapping[str, float], dice: float) -> None:
    found = best_within([candidate(0.7, 10), candidate(0.8, 20), candidate(0.9, 40, parameters=20)], **limits)
    assert found.dice == dice


def test_no_network_within_limits_names_the_smallest() -> None:
    with pytest.raises(UserError, match="needs at most 5 multiply-adds; the smallest needs 10 multiply-adds"):
        best_within([candidate(0.7, 10), candidate(0.8, 20)], multiply_adds=5)
    with pytest.raises(UserError, match="the latencies of this search are unknown"):
        best_within([candidate(0.7, 10)], latency_ms=3)
