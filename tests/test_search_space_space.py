"""The space for NNI: what it holds, what it costs, and that frozen it is the fixed network."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_space import Genotype, SearchSpaceConfig, UserError, UXNet, UXNetSpace
from search_space.presets import unet_edges, unet_pass_through

torch.set_num_threads(1)

CONFIGS = {
    "2-D": SearchSpaceConfig(spatial_dims=2, levels=4, base_channels=2, max_channels=6),
    "3-D": SearchSpaceConfig(spatial_dims=3, in_channels=2, num_classes=3, levels=3, base_channels=2),
    "thick slices": SearchSpaceConfig(
        spatial_dims=3, levels=4, base_channels=2, max_channels=5, strides=((2, 2, 1), (2, 1, 2), (1, 2, 2))
    ),
}


def is_edge(label: str) -> bool:
    return "-" in label


def draw_sample(space: UXNetSpace, seed: int, share: float = 1.0) -> dict[str, Any]:
    """A random candidate per layer, and every edge kept with probability ``share``."""
    draw = random.Random(seed)
    return {
        label: [int(draw.random() < share)] if is_edge(label) else draw.choice(choice.values)
        for label, choice in space.simplify().items()
    }


def live_sample(space: UXNetSpace, seed: int, share: float) -> tuple[dict[str, Any], Genotype]:
    """A sample whose output is not cut off, without its dead edges, and its genotype."""
    while True:
        sample = draw_sample(space, seed, share)
        try:
            genotype = space.genotype(sample)
        except UserError:
            seed += 1000
            continue
        return sample | {str(e): [int(e in genotype.edges)] for e in space.searched_edges}, genotype


def randomise(network: nn.Module) -> None:
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    network.double()


def image_for(config: SearchSpaceConfig) -> Tensor:
    torch.manual_seed(1)
    first, *others = config.divisor  # the smallest image that leaves two voxels at the lowest level
    return torch.randn(2, config.in_channels, 2 * first, *others, dtype=torch.float64)


@pytest.fixture(scope="module")
def default_space() -> UXNetSpace:
    return UXNetSpace(SearchSpaceConfig(spatial_dims=3, in_channels=1, num_classes=3))


def test_default_space_is_the_papers(default_space: UXNetSpace) -> None:
    choices = default_space.simplify()
    assert len(choices) == 79
    assert sum(map(is_edge, choices)) == 50
    assert Counter(label.partition("/")[2] for label in choices if not is_edge(label)) == {
        "normal": 15,
        "reduction": 4,
        "expansion": 10,
    }
    assert {
        label: list(choice.values) for label, choice in choices.items() if label in WRITTEN_OUT
    } == WRITTEN_OUT


WRITTEN_OUT = {
    "N0.2-N1.0": [0, 1],
    "N0.0-N0.4": [0, 1],
    "N3.1-N4.0": [0, 1],
    "N1.0/normal": ["conv3", "conv3x3x1", "conv5", "pseudo3d", "2xconv3", "conv3_rate2", "conv5_rate2"],
    "N0.4/reduction": ["max_pool", "avg_pool", "conv3_stride2"],
    "N4.0/expansion": ["transposed_conv", "interpolate"],
}


def test_labels_are_those_of_the_grid(default_space: UXNetSpace) -> None:
    grid = default_space.grid
    assert set(default_space.simplify()) == set(map(str, grid.edges)) | set(map(str, grid.layers))
    assert default_space.searched_edges == grid.edges
    assert default_space.searched_layers == grid.layers
    assert (default_space.fixed_edges, default_space.fixed_operations) == ((), {})


def test_every_edge_is_a_binary_choice(default_space: UXNetSpace) -> None:
    for label, choice in default_space.simplify().items():
        if is_edge(label):
            assert (list(choice.values), choice.n_chosen) == ([0, 1], 1)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(("seed", "share"), [(0, 1.0), (1, 0.8), (2, 0.6), (3, 0.4), (4, 0.3)])
def test_fixed_network_is_the_frozen_space(config: SearchSpaceConfig, seed: int, share: float) -> None:
    space = UXNetSpace(config)
    randomise(space)
    sample, genotype = live_sample(space, seed, share)
    frozen = space.freeze(sample).eval()
    assert not isinstance(frozen, UXNet)
    network = UXNet(config, genotype).double().eval()
    missing, _ = network.load_state_dict(frozen.state_dict(), strict=False)  # left over: what is dead
    assert missing == []
    image = image_for(config)
    logits = network(image)
    assert logits.abs().max() > 0.01
    torch.testing.assert_close(logits, frozen(image), rtol=0, atol=1e-10)

    heir = UXNet(config, genotype).double().eval()
    heir.inherit(space.state_dict())
    assert torch.equal(heir(image), logits)


def test_samples_of_that_test_are_pruned_and_varied() -> None:
    """It would be no cover if every sample kept every edge, or one operation."""
    space = UXNetSpace(CONFIGS["thick slices"])
    genotypes = [
        live_sample(space, seed, share)[1] for seed, share in [(1, 0.8), (2, 0.6), (3, 0.4), (4, 0.3)]
    ]
    assert (
        min(len(g.edges) for g in genotypes)
        < 10
        < max(len(g.edges) for g in genotypes)
        < len(space.grid.edges)
    )
    assert min(len(g.nodes) for g in genotypes) < len(space.grid.nodes)
    used = {name for g in genotypes for name in g.operations.values()}
    assert used == {
        name for kind in ("normal", "reduction", "expansion") for name in space.config.candidates(kind)
    }


def test_freezing_gives_gates_of_zero_and_one() -> None:
    """A dropped edge is worth nothing, not half."""
    config = CONFIGS["3-D"]
    space = UXNetSpace(config)
    randomise(space)
    every = draw_sample(space, 0)
    image = image_for(config)
    before = space.freeze(every)(image)
    after = space.freeze(every | {"N0.2-N1.0": [0]})(image)
    assert (before - after).abs().max() > 0.01
    with torch.no_grad():  # an edge without weight adds nothing either
        space.edges["N0_2-N1_0"].project.conv.weight.zero_()
    torch.testing.assert_close(space.freeze(every)(image), after, rtol=0, atol=1e-12)


def test_genotype_of_a_sample_drops_what_is_dead() -> None:
    space = UXNetSpace(CONFIGS["3-D"])
    sample = {str(edge): [0] for edge in space.searched_edges} | {
        str(layer): space.config.candidates(layer.kind)[0] for layer in space.searched_layers
    }
    sample |= {edge: [1] for edge in ("N0.0-N1.0", "N1.0-N2.0", "N0.0-N0.1", "N0.1-N1.1")}
    genotype = space.genotype(sample, {"seed": 1})
    assert [str(edge) for edge in genotype.edges] == ["N0.0-N1.0", "N1.0-N2.0"]  # N1.1 leads nowhere
    assert genotype.provenance == {"seed": 1}
    # NNI's tuners give the index itself.
    plain = {label: value[0] if isinstance(value, list) else value for label, value in sample.items()}
    assert space.genotype(plain) == genotype
    with pytest.raises(UserError, match=r"no path of edges leads from N0\.0 to N2\.0"):
        space.genotype(sample | {"N1.0-N2.0": [0]})


# Searched entries (normal, reduction, expansion, edges), counted by hand. With the U-Net's edges the normal layers that
# only hand a skip on are identities, and only the last diagonal has expansion layers:
#   3 levels: normal N0.0 N0.1 N0.2 N1.1 N2.0, expansion N1.1 N2.0;
#   5 levels: 5 encoder and 4 diagonal nodes are left of 15.
SWITCHES = [
    (3, True, True, (6, 2, 3, 11)),
    (3, True, False, (5, 2, 2, 0)),
    (3, False, True, (0, 0, 0, 11)),
    (5, True, True, (15, 4, 10, 50)),
    (5, True, False, (9, 4, 4, 0)),
    (5, False, True, (0, 0, 0, 50)),
    (3, False, False, (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("levels", "blocks", "edges", "expected"), SWITCHES)
def test_switches_of_the_ablation(levels: int, blocks: bool, edges: bool, expected: tuple[int, ...]) -> None:
    config = SearchSpaceConfig(
        spatial_dims=2, levels=levels, base_channels=1, search_blocks=blocks, search_edges=edges
    )
    space = UXNetSpace(config)
    labels = list(space.simplify())
    found = [
        sum(label.endswith(kind) for label in labels) for kind in ("/normal", "/reduction", "/expansion")
    ]
    assert (*found, sum(map(is_edge, labels))) == expected
    assert len(labels) == sum(expected)
    assert len(space.searched_layers) == sum(expected[:3])
    assert len(space.searched_edges) == expected[3]
    assert set(space.costs()) == set(labels)


@pytest.mark.parametrize(("blocks", "edges"), [(True, False), (False, True), (False, False)])
def test_ablations_frozen_are_fixed_networks(blocks: bool, edges: bool) -> None:
    config = CONFIGS["3-D"].model_copy(update={"search_blocks": blocks, "search_edges": edges})
    space = UXNetSpace(config)
    randomise(space)
    sample, genotype = live_sample(space, 5, 0.7)
    if not edges:
        assert set(genotype.edges) == unet_edges(3)
        assert {x.node for x, name in genotype.operations.items() if name == "identity"} == unet_pass_through(
            3
        )
    if not blocks:
        assert set(genotype.operations.values()) <= {"2xconv3", "max_pool", "transposed_conv", "identity"}
    frozen, heir = space.freeze(sample), UXNet(config, genotype).double()
    heir.inherit(space.state_dict())
    image = image_for(config)
    torch.testing.assert_close(heir(image), frozen(image), rtol=0, atol=1e-10)


def test_costs_of_two_levels_by_hand() -> None:
    """3-D, 2 and 4 channels: multiply-adds per voxel of the input; a voxel of level 1 is worth 1/8."""
    costs = UXNetSpace(SearchSpaceConfig(levels=2, base_channels=2)).costs()
    assert costs == {
        # 3x3x3, 3x3x1, 5x5x5, pseudo-3-D, 2 x 3x3x3, 3x3x3 rate 2, 5x5x5 rate 2
        "N0.0/normal": [27 * 2, 9 * 2, 125 * 2, 9 * 2 + 3 * 4, 27 * 2 + 27 * 4, 27 * 2, 125 * 2],
        "N0.1/reduction": [1, 1, 27],  # 2 * 4 channels and 1, 1 or 27 taps, 1/8 of the voxels
        "N0.1/normal": [27 * 2, 9 * 2, 125 * 2, (9 + 3) * 2, 2 * 27 * 2, 27 * 2, 125 * 2],  # 4 * 4 / 8 = 2
        "N1.0/expansion": [
            8,
            1,
        ],  # every new voxel once: 4 * 2; or the projection, 4 * 2 / 8, before the enlarging
        "N1.0/normal": [27 * 4, 9 * 4, 125 * 4, (9 + 3) * 4, 2 * 27 * 4, 27 * 4, 125 * 4],
        # With two levels no edge bridges any: T is the identity.
        "N0.0-N0.1": [0, 0],
        "N0.0-N1.0": [0, 0],
        "N0.1-N1.0": [0, 0],
    }


def test_costs_of_edges_by_hand() -> None:
    """3-D, 2, 4 and 8 channels: the projection works at the coarser of the two levels it joins."""
    costs = UXNetSpace(SearchSpaceConfig(levels=3, base_channels=2)).costs()
    found = {label: value[1] for label, value in costs.items() if is_edge(label) and value[1]}
    assert found == {
        "N0.0-N0.2": 2 * 4 / 8,  # to level 1
        "N0.0-N1.1": 2 * 4 / 8,  # to level 1
        "N0.2-N1.0": 8 * 4 / 64,  # from level 2 to level 1, projected before it is enlarged
    }
    assert {value[0] for label, value in costs.items() if is_edge(label)} == {0}


def test_costs_count_real_multiplications() -> None:
    """Over a sample's choices they sum up to what its convolutions do, counted while they run."""
    config = CONFIGS["thick slices"]
    space = UXNetSpace(config).double()
    sample = draw_sample(space, 4)
    image = image_for(config)[:1]
    counted = 0.0

    def count(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        # A transposed convolution applies its kernel at every voxel that comes in, the others at every one that leaves.
        counted += module.weight.numel() * (inputs[0] if module.transposed else output)[0, 0].numel()

    frozen = space.freeze(sample)
    for module in frozen.modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.register_forward_hook(count)
    frozen(image)
    costs = space.costs()
    expected = config.channels(0) * config.num_classes  # the head is not searched
    for label, choice in sample.items():
        kind = label.partition("/")[2]
        expected += costs[label][1 if is_edge(label) else config.candidates(kind).index(choice)]
    assert counted / image[0, 0].numel() == pytest.approx(expected, rel=1e-12)
