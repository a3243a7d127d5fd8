"""The presets: their edges by hand, and the U-Net weight for weight against a plain one."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import SearchSpaceConfig, UserError, UXNet, presets
from search_space.grid import Grid

torch.set_num_threads(1)


class PlainUNet(nn.Module):
    """A U-Net as one would write it by hand, with additive skips: torch alone, nothing of the project.

    On the way down max pooling and a 1x1x1 convolution, on the way up a transposed convolution, at every level two
    3x3x3 convolutions; instance norm and LeakyReLU after each but the transposed ones.
    """

    def __init__(
        self, dims: int, in_channels: int, num_classes: int, channels: list[int], stride: int = 2
    ) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        transposed = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]
        norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dims]
        self.pool = {2: F.max_pool2d, 3: F.max_pool3d}[dims]

        def two_convolutions(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(
                conv(a, b, 3, padding=1, bias=False),
                norm(b, affine=True),
                nn.LeakyReLU(0.01),
                conv(b, b, 3, padding=1, bias=False),
                norm(b, affine=True),
                nn.LeakyReLU(0.01),
            )

        pairs = list(pairwise(channels))
        self.encoder = nn.ModuleList(two_convolutions(a, b) for a, b in [(in_channels, channels[0])])
        self.encoder.extend(two_convolutions(c, c) for c in channels[1:])
        self.reduce = nn.ModuleList(
            nn.Sequential(conv(a, b, 1, bias=False), norm(b, affine=True), nn.LeakyReLU(0.01))
            for a, b in pairs
        )
        self.up = nn.ModuleList(transposed(b, a, stride, stride=stride, bias=False) for a, b in pairs)
        self.decoder = nn.ModuleList(two_convolutions(c, c) for c in channels[:-1])
        self.head = conv(channels[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder[0](x)
        skips = [x]
        for reduce, block in zip(self.reduce, list(self.encoder)[1:], strict=True):
            x = block(reduce(self.pool(x, 2)))
            skips.append(x)
        for level in reversed(range(len(self.up))):
            x = self.decoder[level](skips[level] + self.up[level](x))
        return self.head(x)


def names_in_the_grid(levels: int) -> dict[str, str]:
    """For every parameter of ``PlainUNet`` (its prefix), the prefix in ``UXNet``: the decoder is the last diagonal."""
    names = {"head": "head"}
    for level in range(levels):
        nodes = {"encoder": f"N0_{level}"}
        if level < levels - 1:
            nodes["decoder"] = f"N{levels - 1 - level}_{level}"
            names[f"up.{level}"] = f"layers.{nodes['decoder']}/expansion.conv"
            names[f"reduce.{level}.0"] = f"layers.N0_{level + 1}/reduction.project.conv"
            names[f"reduce.{level}.1"] = f"norms.N0_{level + 1}/reduction.0"
        for part, node in nodes.items():
            names[f"{part}.{level}.0"] = f"layers.{node}/normal.0.conv"
            names[f"{part}.{level}.1"] = f"layers.{node}/normal.1.0"
            names[f"{part}.{level}.3"] = f"layers.{node}/normal.2.conv"
            names[f"{part}.{level}.4"] = f"norms.{node}/normal.0"
    return names


@pytest.mark.parametrize(("dims", "levels"), [(2, 5), (2, 3), (3, 4), (3, 2)])
def test_unet_is_the_plain_unet_weight_for_weight(dims: int, levels: int) -> None:
    torch.manual_seed(dims)
    config = SearchSpaceConfig(
        spatial_dims=dims, in_channels=2, num_classes=3, levels=levels, base_channels=3, max_channels=10
    )
    plain = PlainUNet(dims, 2, 3, [3, 6, 10, 10, 10][:levels]).double()
    for parameter in plain.parameters():  # norms start as ones and zeros, which would hide a swap
        nn.init.normal_(parameter)
    ours = UXNet(config, presets.unet(levels)).double()
    prefixes = names_in_the_grid(levels)
    renamed = {
        f"{prefixes[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": value
        for name, value in plain.state_dict().items()
    }
    ours.load_state_dict(renamed, strict=True)  # none missing, none left over
    image = torch.randn(2, 2, *(2 ** (levels - 1) * 2,) * dims, dtype=torch.float64)
    torch.testing.assert_close(ours(image), plain(image), rtol=0, atol=1e-12)


def edge_names(name: str, levels: int) -> set[str]:
    return {str(edge) for edge in presets.get(name, levels).edges}


def test_unet_edges_by_hand() -> None:
    # Down the first column, up the last diagonal, and two stages for the skip of level 0.
    assert edge_names("unet", 3) == {
        "N0.0-N0.1", "N0.1-N0.2", "N0.1-N1.1", "N0.2-N1.1", "N0.0-N1.0", "N1.0-N2.0", "N1.1-N2.0",
    }  # fmt: skip
    operations = {str(layer): name for layer, name in presets.unet(3).operations.items()}
    assert operations["N1.0/normal"] == "identity"  # hands the skip on
    assert "N1.0/expansion" not in operations
    assert {name for layer, name in operations.items() if layer != "N1.0/normal"} == {
        "2xconv3", "max_pool", "transposed_conv",
    }  # fmt: skip


def test_unet_plus_plus_edges_by_hand() -> None:
    # Of the original's three decoder nodes each takes its own level and the one below; its one longer skip, from X(0,0)
    # to X(0,2), joins stages that are not adjacent.
    assert edge_names("unet++", 3) == {
        "N0.0-N0.1", "N0.1-N0.2", "N0.0-N1.0", "N0.1-N1.0", "N0.1-N1.1", "N0.2-N1.1", "N1.0-N2.0", "N1.1-N2.0",
    }  # fmt: skip
    assert "identity" not in presets.unet_plus_plus(3).operations.values()


def test_dense_unet_edges_by_hand() -> None:
    assert edge_names("dense-unet", 3) - edge_names("unet", 3) == {"N0.0-N0.2"}
    # With five levels the encoder has 10 edges, 4 of which the U-Net has.
    assert len(edge_names("dense-unet", 5) - edge_names("unet", 5)) == 6


def test_res_unet_is_the_unet_with_residual_blocks() -> None:
    plain, residual = presets.unet(4), presets.get("res-unet", 4)
    assert residual.edges == plain.edges
    changed = {
        str(layer): (plain.operations[layer], name)
        for layer, name in residual.operations.items()
        if plain.operations[layer] != name
    }
    # Seven nodes compute in a U-Net of four levels: four encoder and three decoder nodes.
    assert sorted(changed) == [
        "N0.0/normal", "N0.1/normal", "N0.2/normal", "N0.3/normal", "N1.2/normal", "N2.1/normal", "N3.0/normal",
    ]  # fmt: skip
    assert set(changed.values()) == {("2xconv3", "res2xconv3")}


def test_dla_by_hand() -> None:
    # DLA-Up merges every two neighbouring levels of a stage, as U-Net++ without its longer skips.
    genotype = presets.get("dla", 3)
    assert edge_names("dla", 3) == edge_names("unet++", 3)
    assert {str(layer): name for layer, name in genotype.operations.items()} == {
        "N0.0/normal": "res2xconv3",
        "N0.1/reduction": "conv3_stride2",
        "N0.1/normal": "res2xconv3",
        "N0.2/reduction": "conv3_stride2",
        "N0.2/normal": "res2xconv3",
        "N1.0/expansion": "interpolate",
        "N1.0/normal": "conv3",
        "N1.1/expansion": "interpolate",
        "N1.1/normal": "conv3",
        "N2.0/expansion": "interpolate",
        "N2.0/normal": "conv3",
    }


def test_full_keeps_everything() -> None:
    full = presets.full(5)
    assert full.edges == Grid(5).edges
    assert len(full.operations) == 15 + 4 + 10


def test_number_of_edges_of_the_paper_sized_presets() -> None:
    # Five levels. U-Net: 4 down, 4 up, and one edge on its own level into each of the 10 decoder nodes.
    assert len(presets.unet(5).edges) == 4 + 4 + 10
    # U-Net++: 4 down and two into each of the 10 decoder nodes.
    assert len(presets.unet_plus_plus(5).edges) == 4 + 2 * 10


@pytest.mark.parametrize("name", presets.names())
@pytest.mark.parametrize("levels", range(2, 8))
def test_every_preset_is_valid_on_every_grid(name: str, levels: int) -> None:
    genotype = presets.get(name, levels)  # the constructor validates it
    assert genotype.provenance == {"preset": name}
    assert len(genotype.nodes) == levels * (levels + 1) // 2  # none of these networks leaves a node out


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", presets.names())
def test_every_preset_builds_a_network_that_learns_from_every_weight(name: str, dims: int) -> None:
    torch.manual_seed(0)
    network = UXNet(
        SearchSpaceConfig(spatial_dims=dims, levels=3, base_channels=2), presets.get(name, 3)
    ).double()
    logits = network(torch.randn(1, 1, *(8,) * dims, dtype=torch.float64))
    (logits * torch.randn_like(logits)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_an_unknown_preset() -> None:
    with pytest.raises(
        UserError, match=r"preset 'unet\+' is unknown \(did you mean 'unet(\+\+)?'\?\); known: unet, "
    ):
        presets.get("unet+")
