"""Latencies of whole networks: measured beside the U-Net, corrected predictions, and a search that keeps a limit."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from test_uxnet_eval_search_single_path import write_config
from torch import Tensor, nn

from search_space import Genotype, SearchSpaceConfig, UserError, UXNet
from strategies.single_path.limits import Limits
from strategies.single_path.sampling import Sampler
from uxnet_eval.networks.latency import LatencyMeter
from uxnet_eval.networks.latency_table import LatencyTable, measure_table
from uxnet_eval.networks.network_latencies import LEAST_KNOWN, NetworkLatencies
from uxnet_eval.report import read_source
from uxnet_eval.runs.front_record import FrontRecord
from uxnet_eval.search import choosing, latencies
from uxnet_eval.search.export import export_genotype
from uxnet_eval.search.run import run_search

SPACE = SearchSpaceConfig(
    levels=3,
    base_channels=4,
    width_choices=(0.5, 1.0),
    anchored_edges=True,
    pass_through=True,
    normal_candidates=("conv3", "2xconv3"),
)
PATCH = (8, 8, 8)
SAMPLER = Sampler(SPACE)
UNET = SAMPLER.genotype(SAMPLER.unet)
DRAWN = [SAMPLER.draw(Random(seed)) for seed in range(60)]


class OddMeter(LatencyMeter):
    """A layer takes a time per parameter. A network takes that of its layers, but half as long again if its finest
    level is narrow, which no table of layers knows.

    ``slowness`` is that of the machine now.
    """

    slowness, calls = 1.0, 0

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__(torch.device("cpu"), "32-true", is_channels_last=False)

    def latency_ms(self, module: nn.Module, features: Tensor) -> float:
        self.calls += 1
        if not isinstance(module, UXNet):
            return self.slowness * sum(p.numel() for p in module.parameters()) / 1000
        parts = (*module.layers.values(), *module.norms.values())
        layers_ms = 3 + sum(p.numel() for part in parts for p in part.parameters()) / 1000
        is_odd = module.config.channels(0) < SPACE.base_channels
        return self.slowness * layers_ms * (1.5 if is_odd else 1.0)


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return measure_table(SPACE, PATCH, OddMeter())


@pytest.fixture
def known(table: LatencyTable, tmp_path: Path) -> NetworkLatencies:
    return NetworkLatencies(table, SPACE, OddMeter(), tmp_path / "known.json")


def true_ms(genotype: Genotype) -> float:
    return OddMeter().latency_ms(UXNet(SPACE, genotype), torch.zeros(1))


def test_what_was_measured_corrects_the_predictions(known: NetworkLatencies) -> None:
    def errors() -> list[float]:
        return [known.expected_ms(each) / true_ms(each) - 1 for each in DRAWN[30:]]

    before = errors()
    for each in DRAWN[: LEAST_KNOWN - 1]:
        known.measured_ms(each)
    assert errors() == before  # too few tell nothing
    for each in DRAWN[:30]:
        known.measured_ms(each)
    after = errors()
    assert statistics.mean(map(abs, before)) > 0.1 > 0.08 > statistics.mean(map(abs, after))
    assert sum(error >= 0 for error in after) > 20  # cautious: most are expected to be slower than they are


def test_a_network_is_measured_once_beside_the_unet(known: NetworkLatencies, table: LatencyTable) -> None:
    meter = known._meter
    state = torch.get_rng_state()
    first = known.measured_ms(DRAWN[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert first == pytest.approx(known.unet_ms * true_ms(DRAWN[0]) / true_ms(UNET))
    assert known.measured_ms(UNET) == known.unet_ms == table.latency_ms(UNET, SPACE)
    calls, meter.slowness = meter.calls, 2.0
    assert known.measured_ms(DRAWN[0]) == known.expected_ms(DRAWN[0]) == first and meter.calls == calls
    other = known.measured_ms(DRAWN[1])  # the machine is slower now; the ratio is not
    assert other == pytest.approx(known.unet_ms * true_ms(DRAWN[1]) / true_ms(UNET))


def test_another_process_goes_on_alike(known: NetworkLatencies, table: LatencyTable) -> None:
    class Never(OddMeter):
        def latency_ms(self, module: nn.Module, features: Tensor) -> float:
            raise AssertionError("it was measured already")

    later = NetworkLatencies(table, SPACE, OddMeter(), known._path)
    for each in DRAWN[:10]:
        known.measured_ms(each)
    later = NetworkLatencies(table, SPACE, Never(), known._path)
    for each in DRAWN[:10]:
        assert later.measured_ms(each) == known.measured_ms(each)
    assert [later.expected_ms(each) for each in DRAWN] == [known.expected_ms(each) for each in DRAWN]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("{}", "not latencies of networks"),
        ('{"format": "uxnet-network-latencies", "version": 9}', "version 9, this program reads 1"),
        ('{"format": "uxnet-network-latencies", "version": 1}', "of_unet"),
    ],
)
def test_a_damaged_file_is_one_line(content: str, message: str, table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "latencies.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        NetworkLatencies(table, SPACE, OddMeter(), path)
    assert "\n" not in str(caught.value)


def test_only_what_keeps_all_other_limits_is_measured() -> None:
    asked = []

    def measured(genotype: Genotype) -> float:
        asked.append(genotype)
        return 12.0

    def excess(expected_ms: float, parameters: float) -> float:
        return Limits(
            SPACE,
            PATCH,
            parameters=parameters,
            latency_ms=10.0,
            latency=lambda _: expected_ms,
            checked_latency=measured,
        ).excess(UNET)

    assert excess(15.0, 1e9) == pytest.approx(0.5) and excess(5.0, 1) > 0 and not asked
    assert excess(5.0, 1e9) == pytest.approx(0.2) and asked == [UNET]


@pytest.fixture(scope="module", autouse=True)
def odd_machine() -> Iterator[None]:
    """A machine on which a latency is the same each time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(latencies, "LatencyMeter", OddMeter)
        yield


def limited(folder: Path, dataset: Path) -> Path:
    choice = {"num_measured": 14, "population": 9, "budget_shares": [1.0], "measure_latency": True}
    config = write_config(folder, dataset, choice=choice, search={"strategy": "regression"})
    config.write_text(config.read_text() + "budget: {latency_ms: unet}\n")
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, demo_set: Path, odd_machine: None) -> Path:
    return run_search(limited(tmp_path_factory.mktemp("limited"), demo_set))


def test_a_search_proposes_networks_that_keep_the_measured_limit(finished: Path) -> None:
    folder, record = finished, FrontRecord.load(finished)
    assert record.latency_ms is not None and len(record.measured) == 14
    beyond = [each for each in record.measured if each.latency_ms > record.latency_ms]  # type: ignore[operator]
    # A random one may exceed it, for the table does not know better. The search learns from it.
    assert any(each in record.measured[:9] for each in beyond)
    assert not any(each in record.measured[9:] for each in beyond)
    candidates = record.candidates()
    assert len(candidates) == 14 - len(beyond)
    best = Genotype.load(folder / "genotype.json")
    assert best == max(candidates, key=lambda each: each.dice).genotype
    assert export_genotype(folder)[0] == best
    assert len(read_source(folder).fronts[0]["points"]) == len(candidates)


def test_a_stopped_search_goes_on_to_the_same_front(
    finished: Path, tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, calls = choosing.Chooser._finetuned_dice, []

    def stop(self: Any, genotype: Genotype) -> Any:
        calls.append(genotype)
        if len(calls) == 12:  # its latency is measured, and corrects predictions already
            raise KeyboardInterrupt
        return trained(self, genotype)

    config = limited(tmp_path, demo_set)
    with monkeypatch.context() as patched:
        patched.setattr(choosing.Chooser, "_finetuned_dice", stop)
        with pytest.raises(KeyboardInterrupt):
            run_search(config)
    folder = run_search(config)
    assert FrontRecord.load(folder).measured == FrontRecord.load(finished).measured


def test_a_limit_that_nothing_keeps_is_one_line(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    record = FrontRecord.load(folder)
    record.latency_ms = 1e-3
    record.save(folder)
    with pytest.raises(
        UserError, match=r"none of the 14 measured networks needs at most 0\.001 ms; the fastest"
    ):
        export_genotype(folder)
    found = read_source(folder)
    assert (
        len(found.fronts[0]["points"]) == 14
        and "no measured network keeps the limit of latency yet" in found.all_notes[0]
    )
