"""Networks to train: names, widths, costs, deep supervision, and one step of every baseline in 3-D and 2-D."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from search_space import UXNet, presets
from search_space.errors import UserError
from search_space.grid import Node
from uxnet_eval.architectures.architecture import (
    BASELINES,
    Architecture,
    check_architecture,
    find_architecture,
    level_channels,
)
from uxnet_eval.config.plan import Plan
from uxnet_eval.config.training import NetworkSettings, TrainSettings
from uxnet_eval.networks.baselines import nnunet_kernels
from uxnet_eval.networks.build import build_network, offers_deep_supervision
from uxnet_eval.networks.cost import Cost, network_cost
from uxnet_eval.networks.width import choose_base_channels, nearest_width, shapes_alone
from uxnet_eval.recipe.deep_supervision import supervised_loss, supervised_nodes
from uxnet_eval.recipe.loss import segmentation_loss
from uxnet_eval.training.module import TrainModule

NAMES = ("unet", "unet++", *BASELINES)


def make_plan(dims: int = 3, levels: int = 4, first_axis: int = 32) -> Plan:
    """Just large enough for four halvings along every axis."""
    return Plan(
        spatial_dims=dims,
        spacing_mm=(1.0,) * dims,
        patch_size=(first_axis, 16, 16)[:dims],
        strides=((2,) * dims,) * (levels - 1),
        batch_size=1,
    )


def test_channels_of_a_fractional_width_are_rounded_level_by_level() -> None:
    assert [level_channels(9.5, level, 320) for level in range(4)] == [10, 19, 38, 76]
    assert level_channels(9.5, 6, 320) == 320


@pytest.mark.parametrize(("text", "is_genotype"), [("unet++", True), ("preset:full", True), ("dints", False)])
def test_architectures_by_name(text: str, is_genotype: bool) -> None:
    found = find_architecture(text, 4)
    assert found.name == text and (found.genotype is not None) == is_genotype
    assert Architecture.from_dict(json.loads(json.dumps(found.to_dict())), "x") == found


def test_genotype_file_beside_the_configuration(tmp_path: Path) -> None:
    presets.get("dense-unet", 4).save(tmp_path / "g.json")
    assert find_architecture("g.json", 4, beside=tmp_path).genotype == presets.get("dense-unet", 4)
    with pytest.raises(UserError, match=r"g\.json: a genotype of 4 levels, but the plan's strides make 5"):
        find_architecture("g.json", 5, beside=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dynunett", r"did you mean 'dynunet'"),
        ("preset:unett", r"preset 'unett' is unknown \(did you mean 'unet'"),
        ("genotype.yml", r"give the path of a genotype \(\.json\)"),
    ],
)
def test_unknown_architectures(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_architecture(text)


def test_nnunet_kernels_do_not_reach_along_thick_slices() -> None:
    plan = Plan(spacing_mm=(1, 1, 3), patch_size=(32, 32, 8), strides=((2, 2, 1), (2, 2, 2)), batch_size=1)
    # 3 mm is more than twice 1 mm; after the first stride the spacing is 2, 2, 3 mm.
    assert nnunet_kernels(plan) == [(3, 3, 1), (3, 3, 3), (3, 3, 3)]


@pytest.mark.parametrize("dims", [3, 2])
@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_every_architecture(name: str, dims: int) -> None:
    torch.manual_seed(0)
    plan, architecture = make_plan(dims), find_architecture(name, 4)
    supervised = offers_deep_supervision(architecture, plan)
    network = build_network(
        architecture, plan, 2, 3, base_channels=1.5, max_channels=64, deep_supervision=supervised
    )
    module = TrainModule(network, plan, ("none", "a", "b"), TrainSettings(), channels_last=False)
    optimizer = module.configure_optimizers()["optimizer"]
    image, label = torch.randn(1, 2, *plan.patch_size), torch.randint(0, 3, (1, 1, *plan.patch_size))
    outputs = network(image)
    assert isinstance(outputs, list) == supervised
    before = segmentation_loss(outputs, label)
    before.backward()
    assert all(p.grad is not None for p in network.parameters())
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
    optimizer.step()
    assert segmentation_loss(network(image), label) < before
    network.eval()
    with torch.no_grad():
        assert network(image).shape == (1, 3, *plan.patch_size)


@pytest.mark.parametrize("name", ["segresnet", "dints"])
def test_baselines_that_halve_every_axis_say_so(name: str) -> None:
    plan = Plan(spacing_mm=(1, 1, 3), patch_size=(32, 32, 4), strides=((2, 2, 1),) * 3, batch_size=1)
    with pytest.raises(
        UserError, match=rf"{name}: halves every axis 3 times, but patch_size \[32, 32, 4\].*take dynunet"
    ):
        shapes_alone(find_architecture(name, 4), plan, 1, 2, 4, 64)
    for other in ("dynunet", "u-resnet", "unet"):  # these follow the strides
        assert network_cost(shapes_alone(find_architecture(other, 4), plan, 1, 2, 4, 64), plan, 1)


def test_patch_that_leaves_one_voxel_is_an_error_of_the_plan() -> None:
    plan = make_plan(first_axis=16)
    network = shapes_alone(find_architecture("monai-unet++", 4), plan, 1, 2, 4, 64)
    with pytest.raises(UserError, match=r"cannot take a patch of \[16, 16, 16\] voxels.*change patch_size"):
        network_cost(network, plan, 1)


def test_deep_supervision_where_it_is_not_offered() -> None:
    with pytest.raises(UserError, match="segresnet: offers no deep supervision"):
        build_network(
            find_architecture("segresnet", 4),
            make_plan(),
            1,
            2,
            base_channels=4,
            max_channels=64,
            deep_supervision=True,
        )


def test_supervised_nodes_leave_out_the_two_coarsest_levels() -> None:
    assert supervised_nodes(5, presets.get("unet", 5).nodes) == [Node(3, 1), Node(2, 2)]
    assert supervised_nodes(3, presets.get("unet", 3).nodes) == []


def test_supervised_network_predicts_as_the_plain_one() -> None:
    architecture, plan = find_architecture("full", 5), make_plan(levels=5)
    torch.manual_seed(0)
    supervised = build_network(
        architecture, plan, 1, 2, base_channels=2, max_channels=8, deep_supervision=True
    )
    plain = build_network(architecture, plan, 1, 2, base_channels=2, max_channels=8)
    assert isinstance(plain, UXNet)
    plain.load_state_dict({name: supervised.state_dict()[name] for name in plain.state_dict()})
    image = torch.randn(1, 1, 32, 16, 16)
    outputs = supervised(image)
    assert [tuple(output.shape[2:]) for output in outputs] == [(32, 16, 16), (16, 8, 8), (8, 4, 4)]
    assert torch.equal(outputs[0], plain(image))
    assert torch.equal(supervised.eval()(image), plain(image))


def test_supervised_loss_halves_the_weight_with_each_resolution() -> None:
    outputs = [torch.full((1, 1, size), value) for size, value in ((8, 1.0), (8, 2.0), (4, 4.0), (2, 8.0))]
    label = torch.arange(8)[None, None]
    seen = []

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(labels[0, 0].tolist())
        return logits.mean()

    # (1 + 2 + 4 / 2 + 8 / 4) / (1 + 1 + 1 / 2 + 1 / 4)
    assert float(supervised_loss(outputs, label, loss)) == pytest.approx(7 / 2.75)
    assert seen == [list(range(8)), list(range(8)), [0, 2, 4, 6], [0, 4]]


def test_cost_of_one_convolution() -> None:
    plan = Plan(spacing_mm=(1, 1), spatial_dims=2, patch_size=(6, 4), strides=((2, 2),), batch_size=1)
    network = nn.Conv2d(2, 5, 3, padding=1)  # 5 kernels of 2 * 9 weights and a bias, at 24 places
    assert network_cost(network, plan, 2) == Cost(5 * 2 * 9 + 5, 24 * 5 * 2 * 9)
    assert network.weight.device.type == "cpu"


def test_nearest_width_by_ratio() -> None:
    costs = {width / 4: round(100 * (width / 4) ** 2) for width in range(4, 10_000)}
    assert nearest_width(costs.__getitem__, 900) == (3.0, 900)
    assert nearest_width(costs.__getitem__, 980) == (3.25, 1056)  # 980/900 = 1.089, 1056/980 = 1.078
    assert nearest_width(costs.__getitem__, 10) == (1.0, 100)


@pytest.mark.parametrize("dims", [3, 2])
@pytest.mark.parametrize("name", NAMES)
def test_width_from_a_budget_of_parameters(name: str, dims: int) -> None:
    plan, architecture = make_plan(dims), find_architecture(name, 4)
    # MONAI's SegResNet doubles a whole number of channels, so it meets only some budgets closely.
    budget = {3: 460_000, 2: 605_000}[dims] if name == "segresnet" else 400_000
    settings = NetworkSettings(architecture=name, parameters=budget)
    width = choose_base_channels(architecture, settings, plan, 1, 3)
    network = build_network(architecture, plan, 1, 3, base_channels=width, max_channels=320)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(budget, rel=0.1)


@pytest.mark.parametrize("name", ["unet", "dynunet", "dints"])
def test_width_from_a_budget_of_multiply_adds(name: str) -> None:
    plan, architecture = make_plan(2), find_architecture(name, 4)
    settings = NetworkSettings(architecture=name, multiply_adds=20_000_000)
    width = choose_base_channels(architecture, settings, plan, 1, 3)
    network = build_network(architecture, plan, 1, 3, base_channels=width, max_channels=320)
    assert network_cost(network, plan, 1).multiply_adds == pytest.approx(20_000_000, rel=0.1)


def test_budget_out_of_reach() -> None:
    settings = NetworkSettings(architecture="unet", parameters=50)
    with pytest.raises(UserError, match=r"unet: parameters 50 cannot be met; the nearest width has 1 base"):
        choose_base_channels(find_architecture("unet", 4), settings, make_plan(2), 1, 3)
