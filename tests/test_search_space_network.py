"""The fixed network against the paper's equations written out, and what it builds and refuses."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import Genotype, SearchSpaceConfig, UserError, UXNet, presets
from search_space.grid import Edge, Grid, Layer, Node
from search_space.network import module_key

torch.set_num_threads(1)

OPERATIONS = {"normal": "conv3", "reduction": "avg_pool", "expansion": "interpolate"}

CONFIGS = {
    "2-D": SearchSpaceConfig(spatial_dims=2, in_channels=2, levels=4, base_channels=2, max_channels=6),
    "3-D": SearchSpaceConfig(spatial_dims=3, levels=3, base_channels=2, num_classes=3),
    "thick slices": SearchSpaceConfig(
        spatial_dims=3, levels=4, base_channels=2, strides=((2, 2, 1), (2, 1, 2), (1, 2, 2))
    ),
}


def random_genotype(levels: int, seed: int, share: float = 0.6) -> Genotype:
    """A share of the grid's edges, those that live, with one linear operation per kind of layer."""
    grid, draw = Grid(levels), random.Random(seed)
    operations = {layer: OPERATIONS[layer.kind] for layer in grid.layers}
    while True:
        kept = [edge for edge in grid.edges if draw.random() < share]
        try:
            return Genotype.from_choices(levels, kept, operations)
        except UserError:  # cut off: draw again
            continue


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter at random: norms start as ones and zeros, which would hide their absence."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network.double()


def image_for(config: SearchSpaceConfig) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, config.in_channels, *[2 * d for d in config.divisor], dtype=torch.float64)


def by_the_equations(
    config: SearchSpaceConfig, genotype: Genotype, weights: dict[str, Tensor], image: Tensor
) -> Tensor:
    """The logits, one node after the other and one edge after the other, with functions of torch alone."""
    dims = config.spatial_dims
    conv = {2: F.conv2d, 3: F.conv3d}[dims]
    max_pool = {2: F.max_pool2d, 3: F.max_pool3d}[dims]
    avg_pool = {2: F.avg_pool2d, 3: F.avg_pool3d}[dims]
    stride = [(1,) * dims, *(config.strides or ((2,) * dims,) * (config.levels - 1))]

    def up(x: Tensor, level: int) -> Tensor:
        size = [s * st for s, st in zip(x.shape[2:], stride[level], strict=True)]
        return F.interpolate(x, size=size, mode={2: "bilinear", 3: "trilinear"}[dims], align_corners=False)

    def act(x: Tensor, layer: str) -> Tensor:
        scale, shift = (weights[f"norms.{layer}.0.{name}"] for name in ("weight", "bias"))
        return F.leaky_relu(F.instance_norm(x, weight=scale, bias=shift), 0.01)

    def align(edge: Edge, a: int, b: int) -> Tensor:
        """T_{a->b} of the source's feature map."""
        x = nodes[edge.source]
        for level in range(a + 1, b + 1):
            x = max_pool(x, stride[level])
        if a != b:
            x = conv(x, weights[f"edges.{module_key(edge)}.project.conv.weight"])
        for level in range(a, b, -1):
            x = up(x, level)
        return x

    nodes: dict[Node, Tensor] = {}
    for i in range(config.levels):
        for j in range(config.levels - i):
            node = Node(i, j)
            name = f"N{i}_{j}"
            entering = [edge for edge in genotype.edges if edge.target == node]
            if i == j == 0:
                x = image
            elif not entering:
                continue
            elif i == 0:  # N0.j = normal(reduce(sum over k < j of T_{k->j-1}(N0.k)))
                x = torch.stack([align(e, e.source.level, j - 1) for e in entering]).sum(0)
                x = conv(avg_pool(x, stride[j]), weights[f"layers.{name}/reduction.project.conv.weight"])
                x = act(x, f"{name}/reduction")
            else:  # Ni.j = normal(sum over k <= j of T_{k->j} + expand(sum over k > j of T_{k->j+1}))
                terms = [align(e, e.source.level, j) for e in entering if e.source.level <= j]
                coarse = [align(e, e.source.level, j + 1) for e in entering if e.source.level > j]
                if coarse:
                    kernel = weights[f"layers.{name}/expansion.project.conv.weight"]
                    terms.append(up(conv(torch.stack(coarse).sum(0), kernel), j + 1))
                x = torch.stack(terms).sum(0)
            x = conv(x, weights[f"layers.{name}/normal.conv.weight"], padding=1)
            nodes[node] = act(x, f"{name}/normal")
    return conv(nodes[Node(config.levels - 1, 0)], weights["head.weight"], weights["head.bias"])


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_network_is_the_equations(config: SearchSpaceConfig, seed: int | None) -> None:
    share = 1.0 if seed is None else 0.5  # None: every edge
    genotype = random_genotype(config.levels, seed or 0, share)
    network = randomise(UXNet(config, genotype))
    image = image_for(config)
    expected = by_the_equations(config, genotype, network.state_dict(), image)
    assert expected.shape == (2, config.num_classes, *image.shape[2:])
    torch.testing.assert_close(network(image), expected, rtol=0, atol=1e-10)


def test_equations_tell_networks_apart() -> None:
    """The reference is no constant: without one edge it says something else."""
    config = CONFIGS["3-D"]
    full, less = random_genotype(3, 0, 1.0), random_genotype(3, 0, 0.6)
    network = randomise(UXNet(config, full))
    image = image_for(config)
    weights = network.state_dict()
    differ = by_the_equations(config, full, weights, image) - by_the_equations(config, less, weights, image)
    assert differ.abs().max() > 0.01


def test_only_what_lives_is_built() -> None:
    # N0.0 -> N1.0 -> N2.0, and N0.0 -> N0.1 -> N1.0 from below: no N0.2, no N1.1, no expansion at N2.0.
    edges = [Edge.parse(name) for name in ("N0.0-N0.1", "N0.0-N1.0", "N0.1-N1.0", "N1.0-N2.0")]
    operations = {layer: OPERATIONS[layer.kind] for layer in Grid(3).layers}
    network = UXNet(SearchSpaceConfig(levels=3, base_channels=2), Genotype.from_choices(3, edges, operations))
    assert {name.rsplit(".", 1)[0] for name in network.state_dict()} == {
        # No edge of these four changes the level before the node's own layers, so none has weights.
        "layers.N0_0/normal.conv",
        "layers.N0_1/reduction.project.conv",
        "layers.N0_1/normal.conv",
        "layers.N1_0/expansion.project.conv",
        "layers.N1_0/normal.conv",
        "layers.N2_0/normal.conv",
        "norms.N0_0/normal.0",
        "norms.N0_1/reduction.0",
        "norms.N0_1/normal.0",
        "norms.N1_0/normal.0",
        "norms.N2_0/normal.0",
        "head",
    }
    # 27 (1*2 + 4*4 + 2*2 + 2*2) normal, 2*4 reduction, 4*2 expansion, norms 2 (2+4+4+2+2), head 2*2 + 2.
    assert sum(p.numel() for p in network.parameters()) == 27 * 26 + 8 + 8 + 28 + 6


def test_start_of_the_weights() -> None:
    """He initialisation: variance 2 / (1 + 0.01^2) / fan-in; zero biases."""
    torch.manual_seed(0)
    network = UXNet(SearchSpaceConfig(levels=2, base_channels=24, in_channels=4), presets.unet(2))
    weight = network.state_dict()["layers.N1_0/normal.0.conv.weight"]
    assert weight.std().item() == pytest.approx((2 / 1.0001 / (24 * 27)) ** 0.5, rel=0.02)
    # Of a transposed convolution with kernel = stride torch counts the output channels times the taps.
    up = network.state_dict()["layers.N1_0/expansion.conv.weight"]
    assert up.std().item() == pytest.approx((2 / 1.0001 / (24 * 8)) ** 0.5, rel=0.02)
    assert not network.state_dict()["head.bias"].any()


def test_images_that_do_not_fit() -> None:
    network = UXNet(SearchSpaceConfig(levels=3, base_channels=2, in_channels=2), presets.unet(3))
    with pytest.raises(
        UserError, match=r"input of size \(8, 8, 6\): each axis must be a multiple of \(4, 4, 4\); pad"
    ):
        network(torch.zeros(1, 2, 8, 8, 6))
    with pytest.raises(UserError, match=r"shape \(1, 1, 8, 8, 8\): expected \(batch, 2 channels, 3 axes\)"):
        network(torch.zeros(1, 1, 8, 8, 8))
    with pytest.raises(UserError, match=r"shape \(1, 2, 8, 8\): expected \(batch, 2 channels, 3 axes\)"):
        network(torch.zeros(1, 2, 8, 8))
    with pytest.raises(UserError, match=r"size \(4, 4, 4\): one voxel would be left at the lowest level"):
        network(torch.zeros(1, 2, 4, 4, 4))
    assert network(torch.zeros(1, 2, 4, 4, 8)).shape == (1, 2, 4, 4, 8)


def supernet_state(network: UXNet) -> dict[str, Tensor]:
    """A network's weights under the names of a supernet, beside a candidate that it does not use."""
    state = {}
    for name, value in network.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "layers":
            layer, _, rest = rest.partition(".")
            kind = layer.rpartition("/")[2]
            state[f"layers.{layer}.{OPERATIONS[kind]}.{rest}"] = value
            state[f"layers.{layer}.other.{rest}"] = torch.full_like(value, torch.nan)
        else:
            state[name] = value
    return state


def test_inherit_takes_the_chosen_candidates() -> None:
    config, genotype = CONFIGS["2-D"], random_genotype(4, 3)
    trained, fresh = randomise(UXNet(config, genotype)), UXNet(config, genotype).double()
    fresh.inherit(supernet_state(trained))
    assert {k: v.tolist() for k, v in fresh.state_dict().items()} == {
        k: v.tolist() for k, v in trained.state_dict().items()
    }


def test_inherit_copies() -> None:
    config, genotype = CONFIGS["2-D"], random_genotype(4, 3)
    trained, fresh = randomise(UXNet(config, genotype)), UXNet(config, genotype).double()
    fresh.inherit(supernet_state(trained))
    with torch.no_grad():
        fresh.head.weight.zero_()
    assert trained.head.weight.all()


def test_inherit_from_another_space() -> None:
    config, genotype = CONFIGS["2-D"], random_genotype(4, 3)
    network = UXNet(config, genotype)
    state = supernet_state(network)
    lacking = {name: value for name, value in state.items() if ".N0_0/normal.conv3." not in name}
    with pytest.raises(UserError, match=r"weight layers\.N0_0/normal\.conv\.weight is not in the supernet"):
        network.inherit(lacking)
    wider = supernet_state(UXNet(config.model_copy(update={"base_channels": 4}), genotype))
    with pytest.raises(UserError, match="is not in the supernet: the genotype is of another search space"):
        network.inherit(wider)


def test_layers_are_named_as_everywhere() -> None:
    assert module_key(Layer(Node(1, 0), "normal")) == "N1_0/normal"
    assert module_key(Edge.parse("N0.2-N1.0")) == "N0_2-N1_0"


def test_network_computes_where_nni_is_not_installed(tmp_path: Path) -> None:
    presets.unet(2).save(tmp_path / "genotype.json")
    code = (
        "import sys; sys.modules['nni'] = None  # any import of it fails\n"
        "import torch\n"
        "from search_space import Genotype, SearchSpaceConfig, UXNet\n"
        "network = UXNet(SearchSpaceConfig(levels=2, base_channels=2), Genotype.load(sys.argv[1]))\n"
        "print(tuple(network(torch.zeros(1, 1, 4, 4, 4)).shape))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "genotype.json")],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (run.stdout.strip(), run.stderr) == ("(1, 2, 4, 4, 4)", "")


def test_a_supervised_network_gives_coarse_logits_in_training_alone() -> None:
    config = SearchSpaceConfig(spatial_dims=2, levels=4, base_channels=2, num_classes=3)
    network = UXNet(config, presets.get("full", 4))
    image = torch.randn(1, 1, 32, 16)
    plain = network.eval()(image)
    network.supervise([Node(2, 1), Node(1, 2)])
    assert torch.equal(network.eval()(image), plain)
    logits, *coarse = network.train()(image)
    assert torch.equal(logits, plain)
    assert [tuple(each.shape) for each in coarse] == [(1, 3, 16, 8), (1, 3, 8, 4)]
    sum(each.sum() for each in coarse).backward()
    assert network.head.weight.grad is None  # each output has a head of its own
