"""NNI's DARTS, GumbelDARTS and Proxyless, and SCNAS: what they find on a space with planted candidates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from recorded_search import Segmentation, batches

from search_space import nni_first  # noqa: F401  # isort: skip
from nni.nas.evaluator.pytorch import Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn

from search_space import SearchSpaceConfig, UXNet, UXNetSpace, space
from search_space.genotype import parse_layer
from search_space.grid import live_edges
from strategies.finite import Diverged
from strategies.one_shot.relaxation import RelaxedDARTS, RelaxedGumbelDARTS, RelaxedProxyless
from strategies.one_shot.scnas import SCNAS, kind_of_cell
from strategies.settings import StrategySettings

torch.set_num_threads(1)

GOOD, PLANTED = "conv3", "conv5"
CONFIG = SearchSpaceConfig(
    spatial_dims=2,
    levels=3,
    base_channels=2,
    normal_candidates=(PLANTED, GOOD),
    reduction_candidates=("avg_pool", "max_pool"),
    expansion_candidates=("interpolate", "transposed_conv"),
)
TWO_LEVELS = CONFIG.model_copy(update={"levels": 2, "search_edges": False})
UNET_EDGES = CONFIG.model_copy(update={"search_edges": False})
ALL = [(RelaxedDARTS, CONFIG), (RelaxedGumbelDARTS, CONFIG), (RelaxedProxyless, CONFIG), (SCNAS, UNET_EDGES)]


class Noise(nn.Module):
    """An operation that knows nothing of its input."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.conv_weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_weight * torch.randn(len(x), self.out_channels, *x.shape[2:])


@pytest.fixture
def noise_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of one of the two normal candidates stands noise."""
    build = space.build_operation

    def planted(name: str, in_channels: int, out_channels: int, stride: tuple[int, ...]) -> nn.Module:
        return Noise(out_channels) if name == PLANTED else build(name, in_channels, out_channels, stride)

    monkeypatch.setattr(space, "build_operation", planted)


def search(
    strategy: Any, config: SearchSpaceConfig, epochs: int = 1, poison: bool = False, **settings: Any
) -> Any:
    torch.manual_seed(0)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    data = batches(config, 8, 1, poison), batches(config, 8, 2)
    chosen = StrategySettings(**({"warmup_epochs": 0, "alpha_learning_rate": 0.05} | settings))
    running = strategy(chosen, validation_dataloaders=batches(config, 2, 3))
    module = Segmentation()
    running(
        RawFormatModelSpace(UXNetSpace(config), Lightning(module, trainer, *data)),
        SequentialExecutionEngine(),
    )
    assert module.num_validated == 2 * epochs
    return running


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [strategy for strategy, _ in ALL])
@pytest.mark.usefixtures("noise_planted")
def test_the_better_of_two_operations_is_found(strategy: Any) -> None:
    found = search(strategy, TWO_LEVELS, epochs=20, alpha_learning_rate=0.1)
    layer = parse_layer("N0.0/normal")  # every path goes through it
    assert found.alphas()[layer][GOOD] > 0.55
    assert found.export().operations[layer] == GOOD


@pytest.mark.parametrize(("strategy", "config"), ALL)
def test_the_result_is_a_legal_genotype_of_the_likeliest_candidates(
    strategy: Any, config: SearchSpaceConfig
) -> None:
    found = search(strategy, config, alpha_learning_rate=0.3)
    gates, alphas, genotype = found.gates(), found.alphas(), found.export()
    assert len(gates) == (11 if config.search_edges else 0)
    assert all(0 < gate < 1 and gate != 0.5 for gate in gates.values())
    assert all(sum(row.values()) == pytest.approx(1) for row in alphas.values())
    for layer, name in genotype.operations.items():
        if layer in alphas:
            assert name == max(alphas[layer], key=alphas[layer].__getitem__)
    if config.search_edges:
        likelier = live_edges(config.grid, [edge for edge, gate in gates.items() if gate >= 0.5])
        assert set(genotype.edges) == likelier if likelier else genotype.edges  # else the widest path
    network = UXNet(config, genotype)
    network.inherit(found.supernet.state_dict())
    assert network(torch.randn(1, 1, 8, 8)).shape == (1, 2, 8, 8)


def test_scnas_shares_one_choice_between_the_cells_of_a_kind() -> None:
    found = search(SCNAS, UNET_EDGES, alpha_learning_rate=0.3)
    assert len(found.oneshot_module.arch_parameters()) == 4
    by_kind: dict[str, list[dict[str, float]]] = {}
    for layer, row in found.alphas().items():
        by_kind.setdefault(kind_of_cell(layer), []).append(row)
    assert {kind: len(rows) for kind, rows in by_kind.items()} == {
        "encoder": 3, "reduction": 2, "decoder": 2, "expansion": 2,
    }  # fmt: skip
    assert all(row == rows[0] for rows in by_kind.values() for row in rows)
    assert by_kind["encoder"][0] != by_kind["decoder"][0]


def test_scnas_draws_once_per_step_for_all_cells_of_a_kind() -> None:
    found = search(SCNAS, UNET_EDGES)
    layers = {m.label: m for m in found.supernet.modules() if hasattr(m, "weights")}
    encoder = [layers[f"N0.{level}/normal"].train() for level in range(3)]
    drawn = []
    for _ in range(2):
        found.oneshot_module.resample()
        rows = [layer.weights().tolist() for layer in encoder]
        assert rows[0] == rows[1] == rows[2]
        assert rows[0] != layers["N2.0/normal"].train().weights().tolist()
        drawn.append(rows[0])
    assert drawn[0] != drawn[1]
    assert encoder[0].eval().weights().tolist() == pytest.approx(
        list(found.alphas()[parse_layer("N0.0/normal")].values())
    )


@pytest.mark.parametrize(("strategy", "config"), ALL)
def test_warm_up_moves_weights_alone(strategy: Any, config: SearchSpaceConfig) -> None:
    found = search(strategy, config, warmup_epochs=1, alpha_learning_rate=1.0)
    for row in found.alphas().values():
        assert list(row.values()) == pytest.approx([0.5, 0.5], abs=0.01)
    assert all(abs(gate - 0.5) < 0.01 for gate in found.gates().values())


@pytest.mark.parametrize("strategy", [RelaxedDARTS, RelaxedGumbelDARTS])
def test_a_loss_of_nan_ends_the_search(strategy: Any) -> None:
    with pytest.raises(Diverged, match=r"the loss is nan in epoch 1$"):
        search(strategy, CONFIG, poison=True)


def test_parameters_have_the_order_of_the_modules() -> None:
    """NNI's own order is that of addresses in memory; a resumed optimizer would mix up its moments."""
    found = search(RelaxedDARTS, CONFIG)
    module = found.oneshot_module
    order = [m._arch_alpha for m in module.modules() if hasattr(m, "_arch_alpha")]
    assert [id(p) for p in module.arch_parameters()] == [id(p) for p in order]
