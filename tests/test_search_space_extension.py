"""The extension of the paper's space: widths, scaled and anchored edges, pass-through nodes, two more blocks."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from search_space import Genotype, SearchSpaceConfig, UserError, UXNet, presets
from search_space.activations import genotype_activations
from search_space.cost import genotype_cost
from search_space.grid import Edge, Grid, Layer, Node
from search_space.layers import build_operation
from search_space.operations import legal_operations
from search_space.presets import unet_edges, unet_pass_through
from search_space.space import UXNetSpace
from uxnet_eval.config.plan import Plan
from uxnet_eval.networks.cost import network_cost

STRIDES = {2: ((2, 2), (2, 1), (2, 2)), 3: ((2, 2, 1), (2, 2, 2), (2, 2, 2))}
PATCHES = {2: (32, 16), 3: (16, 16, 8)}


def config(dims: int = 3, **settings: object) -> SearchSpaceConfig:
    return SearchSpaceConfig(
        spatial_dims=dims,
        in_channels=2,
        num_classes=3,
        levels=4,
        base_channels=4,
        strides=STRIDES[dims],
        **settings,
    )


def drawn(dims: int, seed: int) -> Genotype:
    """Every legal operation and edge has its chance, so that over the seeds each occurs."""
    random, grid = Random(seed), Grid(4)
    edges = set(unet_edges(4)) | {edge for edge in grid.edges if random.random() < 0.5}
    operations = {}
    for layer in grid.layers:
        names = [name for name in legal_operations(layer.kind, dims) if name != "identity"]
        if layer.kind == "normal" and layer.node in unet_pass_through(4):
            names.append("identity")
        operations[layer] = random.choice(names)
    widths = [random.choice([0.5, 0.75, 1.0, 1.5]) for _ in range(4)]
    return Genotype.from_choices(4, edges, operations, widths=widths, edge_scale=bool(seed % 2))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_cost_is_that_of_the_network(dims: int, seed: int) -> None:
    genotype = drawn(dims, seed)
    plan = Plan(
        spatial_dims=dims,
        spacing_mm=(1.0,) * dims,
        patch_size=PATCHES[dims],
        strides=STRIDES[dims],
        batch_size=1,
    )
    with torch.device("meta"):
        network = UXNet(config(dims), genotype)
    assert genotype_cost(genotype, config(dims), PATCHES[dims]) == network_cost(network, plan, 2)


class Written(TorchDispatchMode):
    """Counts the values that convolutions write."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.convolution:
            self.total += result.numel()
        return result


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_activations_are_those_of_the_network(dims: int, seed: int) -> None:
    genotype = drawn(dims, seed)
    with torch.device("meta"):
        network = UXNet(config(dims), genotype).eval()
        image = torch.zeros(1, 2, *PATCHES[dims])
    with torch.no_grad(), Written() as written:
        network(image)
    assert genotype_activations(genotype, config(dims), PATCHES[dims]) == written.total


def test_widths_by_hand() -> None:
    space = config(widths=(0.5, 1.0, 1.5, 0.1))
    assert [space.channels(level) for level in range(4)] == [
        2,
        8,
        24,
        3,
    ]  # 4 * 0.5, 8, 16 * 1.5, 32 * 0.1 = 3.2


def test_a_genotype_brings_its_widths() -> None:
    unet = presets.get("unet", 4)
    narrow = Genotype.from_choices(4, unet.edges, unet.operations, widths=(1, 0.5, 1, 1))
    network = UXNet(config(), narrow)
    assert network.norms["N0_1/normal"][0].num_features == 4  # 4 * 2 * 0.5
    assert network(torch.randn(1, 2, 16, 16, 16)).shape == (1, 3, 16, 16, 16)


def test_a_scaled_network_starts_as_the_unet() -> None:
    """All edges, those off the U-Net at 0: the output is the U-Net's whatever else is there."""
    unet = presets.get("unet", 4)
    operations = {layer: "conv3" for layer in Grid(4).layers if layer.kind == "normal"}
    operations |= {
        layer: {"reduction": "max_pool", "expansion": "transposed_conv"}[layer.kind]
        for layer in Grid(4).layers
        if layer.kind != "normal"
    }
    operations |= dict(unet.operations)
    full = Genotype.from_choices(4, Grid(4).edges, operations, edge_scale=True)
    wide, small = UXNet(config(), full).eval(), UXNet(config(), unet).eval()
    small.load_state_dict({name: wide.state_dict()[name] for name in small.state_dict()})
    image = torch.randn(1, 2, 16, 16, 16)
    assert torch.equal(wide(image), small(image))
    opened = wide.edges["N0_3-N1_0"].scale
    torch.nn.init.ones_(opened)
    assert not torch.equal(wide(image), small(image))


@pytest.mark.parametrize("dims", [2, 3])
def test_shared_aggregation_scales_like_edge_by_edge(dims: int) -> None:
    genotype = drawn(dims, 1)
    network = UXNet(config(dims), genotype).double().eval()
    for name, parameter in network.named_parameters():
        if name.endswith("scale"):
            torch.nn.init.normal_(parameter)
    image = torch.randn(1, 2, *(2 * size for size in PATCHES[dims]), dtype=torch.float64)
    together = network(image)
    network.aggregate = lambda edges, features: sum(  # type: ignore[method-assign]
        network.edges[str(edge).replace(".", "_")](features[edge.source]) for edge in edges
    )
    assert torch.allclose(together, network(image), rtol=0, atol=1e-9)


def test_a_node_without_edges_of_the_unet_starts_open() -> None:
    edges = [Edge.parse(name) for name in ("N0.0-N0.1", "N0.1-N1.0", "N1.0-N2.0", "N2.0-N3.0")]
    operations = {layer: "conv3" for layer in Grid(4).layers if layer.kind == "normal"}
    operations |= {layer: "max_pool" for layer in Grid(4).layers if layer.kind == "reduction"}
    operations |= {layer: "interpolate" for layer in Grid(4).layers if layer.kind == "expansion"}
    network = UXNet(config(), Genotype.from_choices(4, edges, operations, edge_scale=True))
    assert all(edge.scale.eq(1).all() for edge in network.edges.values())


def test_version_2_round_trip_and_version_1_for_older_programs(tmp_path: Path) -> None:
    genotype = drawn(3, 1)
    genotype.save(tmp_path / "g.json")
    assert json.loads((tmp_path / "g.json").read_text())["version"] == 2
    assert Genotype.load(tmp_path / "g.json") == genotype
    plain = presets.get("unet", 4).to_dict()
    assert plain["version"] == 1
    assert "widths" not in plain
    plain["widths"] = [1, 1, 1, 1]
    with pytest.raises(UserError, match="version 1 has no key 'widths'; write version 2"):
        Genotype.from_dict(plain)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"widths": [1, 1, 1]}, "widths are \\[1.0, 1.0, 1.0\\]; expected 4 factors from 0.1 to 10"),
        ({"widths": [1, 1, 1, 20]}, "expected 4 factors from 0.1 to 10"),
        ({"widths": [1, 1, 1, float("nan")]}, "widths.3: Input should be a finite number, found nan"),
        ({"edge_scale": 1}, "edge_scale"),
    ],
)
def test_faults_of_version_2(changed: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Genotype.from_dict({**drawn(3, 1).to_dict(), **changed})


def test_anchored_edges_are_fixed_and_the_others_searched() -> None:
    space = UXNetSpace(config(anchored_edges=True, edge_scale=True, pass_through=True))
    assert set(space.fixed_edges) == unet_edges(4)
    assert set(space.searched_edges) == set(Grid(4).edges) - unet_edges(4)
    assert {str(edge) for edge in space.searched_edges} <= set(space.simplify())
    for edge in Grid(4).edges:
        start = float(edge in unet_edges(4))
        assert space.edges[str(edge).replace(".", "_")].scale.eq(start).all()
    assert "identity" in space.config.layer_candidates(Layer(Node(1, 0), "normal"))
    assert "identity" not in space.config.layer_candidates(Layer(Node(1, 2), "normal"))


def test_the_unet_is_in_the_extended_space() -> None:
    space = UXNetSpace(config(anchored_edges=True, pass_through=True))
    unet = presets.get("unet", 4)
    sample = {str(edge): 0 for edge in space.searched_edges}
    sample |= {
        str(layer): unet.operations.get(layer, "conv3")
        for layer in space.searched_layers
        if layer.kind == "normal"
    }
    sample |= {str(layer): "max_pool" for layer in space.searched_layers if layer.kind == "reduction"}
    sample |= {str(layer): "transposed_conv" for layer in space.searched_layers if layer.kind == "expansion"}
    assert space.genotype(sample) == unet


@pytest.mark.parametrize("dims", [2, 3])
def test_residual_block_is_the_double_convolution_plus_its_input(dims: int) -> None:
    block = build_operation("res2xconv3", 3, 3, (1,) * dims).double()
    image = torch.randn(2, 3, *(6,) * dims, dtype=torch.float64)
    assert torch.allclose(block(image) - image, block.convolutions(image), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_large_kernel_keeps_channels_apart_before_it_mixes_them(dims: int) -> None:
    block = build_operation("large_kernel", 3, 3, (1,) * dims).double()
    torch.nn.init.zeros_(block.compress.conv.weight)
    image = torch.randn(1, 3, *(8,) * dims, dtype=torch.float64)
    assert torch.equal(block(image), image)
    assert block.depthwise.weight.shape == (3, 1, *(5,) * dims)
