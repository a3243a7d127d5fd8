"""The network as nnU-Net builds it: outputs, axes, heads and names of weights, without nnU-Net."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
import torch

from search_space import Genotype, SearchSpaceConfig, UXNet, presets
from search_space.errors import UserError
from search_space.grid import Edge, Layer, Node
from search_space.nnunet_network import UXNetForNNUNet, head_nodes

CHANNELS = [4, 6, 8, 12]
STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]]
"""Along z, y, x: z is pooled late."""
ZYX = [2, 1, 0]
SIZE = (8, 32, 16)


def without(nodes: Iterable[Node], levels: int = 4, **operations: str) -> Genotype:
    """All edges and the U-Net's operations but for these nodes."""
    full, gone = presets.get("full", levels), set(nodes)
    edges = [edge for edge in full.edges if not {edge.source, edge.target} & gone]
    chosen = {layer: operations.get(layer.kind, name) for layer, name in full.operations.items()}
    return Genotype.from_choices(levels, edges, chosen)


def build(genotype: Genotype, **changes: Any) -> UXNetForNNUNet:
    torch.manual_seed(0)
    plain = json.loads(json.dumps(genotype.to_dict()))  # as it comes from a plans file
    kwargs = {"features_per_stage": CHANNELS, "strides": STRIDES, "axes": ZYX, **changes}
    return UXNetForNNUNet(input_channels=2, num_classes=3, genotype=plain, **kwargs)


def image(size: tuple[int, ...] = SIZE) -> torch.Tensor:
    return torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "gone",
    [
        [],
        [Node(1, 2)],  # the last of level 2: its head reads the encoder
        [Node(1, 2), Node(0, 2)],  # no node of level 2 at all
        [Node(2, 1), Node(1, 1), Node(0, 1)],
    ],
    ids=str,
)
def test_one_output_for_each_resolution_finest_first(gone: list[Node]) -> None:
    network = build(without(gone))
    shrinking = torch.tensor(STRIDES).cumprod(0)[:-1]  # the pairs that nnU-Net's loss makes
    expected = [(2, 3, *(s // int(f) for s, f in zip(SIZE, row, strict=True))) for row in shrinking]
    for mode in (network.train(), network.eval()):
        outputs = mode(image())
        assert isinstance(outputs, list)
        assert [tuple(x.shape) for x in outputs] == expected
    network.decoder.deep_supervision = False
    torch.testing.assert_close(network(image()), outputs[0], rtol=0, atol=0)


def test_heads_read_the_last_node_of_their_level() -> None:
    assert head_nodes(4, presets.get("full", 4).nodes) == [Node(3, 0), Node(2, 1), Node(1, 2)]
    assert head_nodes(4, without([Node(2, 1), Node(1, 2)]).nodes) == [Node(3, 0), Node(1, 1), Node(0, 2)]
    assert head_nodes(4, without([Node(1, 2), Node(0, 2)]).nodes) == [Node(3, 0), Node(2, 1), Node(2, 1)]


@pytest.mark.parametrize("operation", ["conv3x3x1", "pseudo3d", "conv5", "2xconv3"])
def test_same_function_as_the_fixed_network_with_axes_exchanged(operation: str) -> None:
    genotype = without([], normal=operation)
    network = build(genotype, features_per_stage=[4, 8, 16, 32], deep_supervision=False).double()
    config = SearchSpaceConfig(
        in_channels=2,
        num_classes=3,
        levels=4,
        base_channels=4,
        strides=((2, 2, 1), (2, 2, 2), (2, 2, 2)),
    )
    fixed = UXNet(config, genotype).double()
    weights = network.state_dict()
    for part in ("weight", "bias"):  # the finest head is the last
        weights[f"head.{part}"] = weights[f"decoder.seg_layers.2.{part}"]
    fixed.load_state_dict({name: weights[name] for name in fixed.state_dict()})
    with torch.no_grad():
        expected = fixed(image().double().permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2)
        torch.testing.assert_close(network(image().double()), expected, rtol=1e-9, atol=1e-9)


def test_in_plane_kernel_does_not_reach_along_the_thick_axis() -> None:
    """A 3x3x1 kernel of ours is 1x3x3 in nnU-Net's z, y, x."""
    genotype = Genotype.from_choices(
        2,
        [Edge(Node(0, 0), Node(1, 0))],
        {Layer(Node(0, 0), "normal"): "conv3x3x1", Layer(Node(1, 0), "normal"): "identity"},
    )
    network = build(genotype, features_per_stage=[4, 4], strides=[[1, 1, 1], [1, 2, 2]])
    x = image().requires_grad_()
    # Before the norm, which joins all voxels.
    network.layers["N0_0/normal"](x.permute(0, 1, 4, 3, 2))[0, 0, 8, 16, 4].backward()
    touched = x.grad[0, 0].nonzero()
    assert touched.amin(0).tolist() == [4, 15, 7] and touched.amax(0).tolist() == [4, 17, 9]


def test_two_dimensions() -> None:
    network = build(
        presets.get("full", 3), features_per_stage=[4, 6, 8], strides=[[1, 1], [2, 1], [2, 2]], axes=[1, 0]
    )
    assert [x.shape[2:] for x in network(image((16, 8)))] == [(16, 8), (8, 8)]


def test_every_parameter_takes_a_gradient_with_and_without_deep_supervision() -> None:
    """Else DDP waits for those that do not."""
    network = build(without([Node(1, 2)]))
    for enabled in (True, False):
        network.decoder.deep_supervision = enabled
        network.zero_grad()
        outputs = network(image())
        total = sum(x.square().mean() for x in (outputs if enabled else [outputs]))
        total.backward()
        without_gradient = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
        assert without_gradient == []
    assert sum(not p.requires_grad for p in network.parameters()) == 4  # weight and bias of two heads


def test_weights_have_the_same_names_with_and_without_deep_supervision() -> None:
    states = [build(presets.get("unet", 4), deep_supervision=on).state_dict() for on in (True, False)]
    assert list(states[0]) == list(states[1])
    heads = [name for name in states[0] if "seg_layers" in name]
    expected = itertools.product(range(3), ("weight", "bias"))
    assert heads == [f"decoder.seg_layers.{index}.{part}" for index, part in expected]
    assert not any(name.startswith("head.") for name in states[0])


@pytest.mark.slow
def test_compiles_into_one_graph() -> None:
    network = build(without([Node(1, 2), Node(0, 2)]))
    outputs = torch.compile(network, backend="aot_eager", fullgraph=True)(image())
    for found, expected in zip(outputs, network(image()), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_float16_autocast_is_near_float32() -> None:
    network = build(presets.get("full", 4)).eval()
    with torch.no_grad():
        expected = network(image())
        with torch.autocast("cpu", dtype=torch.float16):
            found = network(image())
    for half, whole in zip(found, expected, strict=True):
        assert half.dtype == torch.float16
        assert (half.float() - whole).abs().mean() < 0.02 * whole.abs().mean()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": STRIDES[:3]}, "has 4 levels; strides and features_per_stage are for 3 and 4"),
        ({"features_per_stage": [4, 8]}, "are for 4 and 2"),
        ({"axes": [0, 0, 1]}, r"axes of the plans are \[0, 0, 1\]; expected each of 0 to 2"),
    ],
)
def test_plans_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(presets.get("unet", 4), **changes)
