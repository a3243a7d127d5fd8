"""Latencies: the meter, the table, the limit of a search, and the machine that they belong to."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from test_uxnet_eval_search_single_path import write_config
from torch import Tensor, nn
from typer.testing import CliRunner

from search_space import SearchSpaceConfig, UserError, UXNet, aggregation
from search_space.cost import genotype_cost
from search_space.presets import unet_edges
from search_space.reading import read_json
from strategies.single_path.limits import Limits
from strategies.single_path.sampling import Sampler
from uxnet_eval import cli
from uxnet_eval.networks import latency_table
from uxnet_eval.networks.edge_traffic import edge_traffic
from uxnet_eval.networks.latency import LatencyMeter
from uxnet_eval.networks.latency_table import LatencyTable, measure_table
from uxnet_eval.networks.network_latencies import NetworkLatencies
from uxnet_eval.runs.files import write_json
from uxnet_eval.runs.front_record import FrontRecord
from uxnet_eval.search.export import export_genotype
from uxnet_eval.search.latencies import latency_limit, measure_anew
from uxnet_eval.search.run import run_search

SPACE = SearchSpaceConfig(
    levels=3,
    base_channels=4,
    width_choices=(0.5, 1.0),
    anchored_edges=True,
    edge_scale=True,
    pass_through=True,
    normal_candidates=("conv3", "2xconv3"),
)
PATCH = (8, 8, 8)
METER = LatencyMeter(torch.device("cpu"), "32-true", is_channels_last=True)


class Waits(nn.Module):
    """Takes a known time."""

    def __init__(self, ms: float) -> None:
        super().__init__()
        self.ms = ms

    def forward(self, x: Tensor) -> Tensor:
        until = time.perf_counter() + self.ms / 1000
        while time.perf_counter() < until:
            pass
        return x


class CountedMeter(LatencyMeter):
    """A layer takes a time per parameter; a network takes twice that of its layers, and 3 ms."""

    def latency_ms(self, module: nn.Module, features: Tensor) -> float:
        if not isinstance(module, UXNet):
            return sum(p.numel() for p in module.parameters()) / 1000
        parts = (*module.layers.values(), *module.norms.values())
        return 3 + 2 * sum(p.numel() for part in parts for p in part.parameters()) / 1000


def test_the_meter_measures_a_known_time() -> None:
    network = nn.Sequential(Waits(2), nn.Sequential(Waits(3)))
    # Other processes can only lengthen it.
    assert 5 <= METER.latency_ms(network, METER.features(2, PATCH)) < 10


def test_one_interrupted_piece_per_pass_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every whole pass is interrupted, but each piece of it runs undisturbed at least once."""
    parts = [Waits(1) for _ in range(4)]
    passes = iter(range(10**6))

    class Interrupted(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            late = next(passes) % len(parts)
            for index, part in enumerate(self):
                part.ms = 20 if index == late else 1
                x = part(x)
            return x

    assert METER.latency_ms(Interrupted(*parts), METER.features(1, PATCH)) < 6


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return measure_table(SPACE, PATCH, METER)


def test_the_table_holds_every_operation_at_every_width(table: LatencyTable) -> None:
    sampler = Sampler(SPACE)
    for seed in range(50):
        assert table.latency_ms(sampler.draw(Random(seed)), SPACE) > 0
    assert "normal at level 2: 2xconv3 8-8" in table.operations_ms
    assert len(table.checked_ms) == latency_table.NUM_CHECKED


@pytest.mark.parametrize("fixed", ["search_edges", "search_blocks"])
def test_the_table_holds_what_a_space_fixes(fixed: str) -> None:
    """Identity in the U-Net's pass-through nodes, or the U-Net's operations, which are no candidates here."""
    space = SearchSpaceConfig(
        levels=3, base_channels=4, width_choices=(0.5, 1.0), normal_candidates=("conv3",), **{fixed: False}
    )
    meter = CountedMeter(torch.device("cpu"), "32-true", is_channels_last=False)
    measured = measure_table(space, PATCH, meter)
    sampler = Sampler(space)
    assert all(measured.latency_ms(sampler.draw(Random(seed)), space) > 0 for seed in range(20))


def test_the_prediction_is_exact_where_times_add_up() -> None:
    meter = CountedMeter(torch.device("cpu"), "32-true", is_channels_last=False)
    exact = measure_table(SPACE, PATCH, meter)
    assert exact.weights == pytest.approx((2, 0, 3), abs=1e-6)
    assert max(exact.errors) < 1e-6


def test_a_table_of_another_machine_is_refused(table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    table.save(path)
    assert LatencyTable.load(path) == table
    table.check_machine(METER.machine(), path)
    other = METER.machine() | {"device": "another processor"}
    with pytest.raises(UserError, match=r"here it is 'another processor'; measure anew: uxnet latency"):
        table.check_machine(other, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("{}", "not a table of latencies"),
        ('{"format": "uxnet-latency", "version": 9}', "version 9, this program reads 2"),
    ],
)
def test_a_damaged_table_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "latency.json").write_text(content)
    with pytest.raises(UserError, match=message):
        LatencyTable.load(tmp_path / "latency.json")


def test_a_table_of_another_space(table: LatencyTable) -> None:
    other = SPACE.model_copy(update={"base_channels": 6})
    with pytest.raises(UserError, match="it is of another space"):
        table.latency_ms(Sampler(other).draw(Random(0)), other)


@pytest.fixture
def latencies(table: LatencyTable, tmp_path: Path) -> NetworkLatencies:
    return NetworkLatencies(table, SPACE, METER, tmp_path / "network_latencies.json")


def test_latency_is_a_hard_limit(table: LatencyTable, latencies: NetworkLatencies) -> None:
    sampler = Sampler(SPACE)
    found = sorted(table.latency_ms(sampler.draw(Random(seed)), SPACE) for seed in range(30))
    limits = Limits(
        SPACE, PATCH, latency_ms=found[5], latency=lambda genotype: table.latency_ms(genotype, SPACE)
    )
    for seed in range(10):
        assert table.latency_ms(sampler.draw(Random(seed), limits.excess), SPACE) <= found[5]
    assert latency_limit(found[5], latencies) == found[5]
    with pytest.raises(
        UserError, match=r"no network of this space needs at most 1e-06 ms; the fastest needs"
    ):
        latency_limit(1e-6, latencies)


def test_the_limit_may_be_that_of_the_unet(latencies: NetworkLatencies) -> None:
    unet = Sampler(SPACE).genotype(Sampler(SPACE).unet)
    assert set(unet.edges) == unet_edges(3) and unet.widths == (1.0, 1.0, 1.0)
    assert latency_limit("unet", latencies) == latencies.table.latency_ms(unet, SPACE)


def test_a_network_comes_near_one_of_its_limits() -> None:
    """Few multiply-adds are allowed if the time is used, and the other way round."""
    genotype = Sampler(SPACE).draw(Random(0))
    used = genotype_cost(genotype, SPACE, PATCH).multiply_adds

    def excess(multiply_adds: float, latency_ms: float) -> float:
        limits = Limits(
            SPACE,
            PATCH,
            multiply_adds=multiply_adds,
            least_share=0.9,
            latency_ms=latency_ms,
            latency=lambda genotype: 10.0,
        )
        return limits.excess(genotype)

    assert excess(2 * used, 10) == excess(used, 20) == 0
    assert excess(2 * used, 20) == pytest.approx(0.4)
    assert excess(2 * used, 8) == pytest.approx(0.25)


def test_the_traffic_of_edges_is_that_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in the tensors that pass through pooling, projection and interpolation."""
    counted: Counter[str] = Counter()

    def counting(name: str, of: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(x: Tensor, *others: Any) -> Tensor:
            y = of(x, *others)
            counted[name] += x.numel() * (name != "interpolated") + y.numel() * (name != "pooled")
            return y

        return call

    monkeypatch.setattr(aggregation, "max_pool", counting("pooled", aggregation.max_pool))
    monkeypatch.setattr(aggregation, "upsample", counting("interpolated", aggregation.upsample))
    convolution = counting("projected", aggregation.CONV_FUNCTION[3])
    monkeypatch.setattr(aggregation, "CONV_FUNCTION", {3: convolution})
    space = SPACE.model_copy(update={"levels": 4})
    for seed in range(10):
        counted.clear()
        genotype = Sampler(space).draw(Random(seed))
        UXNet(space, genotype).eval()(torch.zeros(1, 1, 16, 16, 16))
        config = space.model_copy(update={"widths": genotype.widths})
        traffic = edge_traffic(genotype, config, (16, 16, 16))._asdict()
        assert {name: round(1e6 * traffic[name]) for name in counted} == counted


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, demo_set: Path) -> Path:
    return run_search(
        write_config(tmp_path_factory.mktemp("latency"), demo_set, choice={"measure_latency": True})
    )


def test_a_search_records_latencies_and_exports_by_them(finished: Path) -> None:
    record = FrontRecord.load(finished)
    latencies = [each.latency_ms for each in record.measured]
    assert all(latencies)
    limit = sorted(latencies)[3]  # type: ignore[type-var]
    genotype, _ = export_genotype(finished, max_latency_ms=limit)
    assert genotype.provenance["latency_ms"] <= limit
    with pytest.raises(UserError, match="needs at most 1e-06 ms; the smallest needs"):
        export_genotype(finished, max_latency_ms=1e-6)


def test_export_refuses_latencies_of_another_machine_until_they_are_measured_anew(
    finished: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    values = read_json(folder / "latency.json")
    values["machine"]["device"] = "another processor"
    write_json(folder / "latency.json", values)
    with pytest.raises(UserError, match="measured with device 'another processor', here it is"):
        export_genotype(folder, max_latency_ms=1e6)
    shown = CliRunner().invoke(cli.app, ["latency", str(folder)])
    assert shown.exit_code == 0, shown.output
    assert "whole network: predicted" in shown.output
    assert "ms per patch" in shown.output
    export_genotype(folder, max_latency_ms=1e6)


def test_what_a_killed_measurement_leaves_is_not_believed(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FrontRecord, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        measure_anew(folder)
    with pytest.raises(UserError, match="unknown; measure them: uxnet latency"):
        export_genotype(folder, max_latency_ms=1e6)


def test_export_by_latency_needs_latencies(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    record = FrontRecord.load(folder)
    record.measured = [each.model_copy(update={"latency_ms": None}) for each in record.measured]
    record.save(folder)
    with pytest.raises(
        UserError, match="the latencies of this search are unknown; measure them: uxnet latency"
    ):
        export_genotype(folder, max_latency_ms=1e6)
