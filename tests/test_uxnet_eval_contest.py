"""A contest on tiny data: who proposes what, that no scored case is seen before, equal cost, and that it continues."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_uxnet_eval_network_latencies import OddMeter

from search_space import Genotype, UserError, presets
from search_space.activations import genotype_activations
from search_space.checksum import CHECKSUM
from search_space.grid import Grid
from search_space.presets import unet_edges
from uxnet_eval.comparison.trainings import find_trainings
from uxnet_eval.config.contest import CONTENDERS, ContestConfig
from uxnet_eval.config.run_file import RuntimeSettings
from uxnet_eval.config.search import RunConfig
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.contest import run as contest_run
from uxnet_eval.contest.proposals import GATE_THRESHOLDS, GRADIENT_SEARCHES, MEASURED_SEARCHES, propose
from uxnet_eval.contest.run import contest_limits, run_contest
from uxnet_eval.dataset.cases import Case
from uxnet_eval.dataset.folds import SPLIT_SEED, split_fold
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.networks.latency_table import LatencyTable
from uxnet_eval.runs.front_record import FrontRecord
from uxnet_eval.runs.search_record import SearchRecord
from uxnet_eval.search.data import split_for
from uxnet_eval.search.latencies import network_latencies
from uxnet_eval.training.preparation import prepare

SECTIONS: dict[str, dict[str, Any]] = {
    "plan": {
        "spatial_dims": 3,
        "spacing_mm": [1.0] * 3,
        "patch_size": [16] * 3,
        "strides": [[2] * 3] * 2,
        "batch_size": 1,
    },
    "space": {
        "base_channels": 4,
        "width_choices": [0.5, 1.0, 1.5],
        "anchored_edges": True,
        "edge_scale": True,
        "pass_through": True,
        "normal_candidates": ["conv3", "2xconv3"],
    },
    "search": {"strategy": "single-path", "epochs": 1, "steps_per_epoch": 2},
    "choice": {
        "num_measured": 4,
        "population": 2,
        "finetune_steps": 1,
        "budget_shares": [1.0],
    },
    "train": {"epochs": 2, "steps_per_epoch": 1},
    "contest": {"proposals": 2, "outer_fold": 2, "selection_epochs": 1},
    "runtime": {"num_threads": 1, "precision": "float32"},
}


def write_config(folder: Path, dataset: Path, **changes: dict[str, Any]) -> Path:
    values: dict[str, Any] = {"dataset": str(dataset), "output": str(folder / "out")}
    values |= {name: section | changes.get(name, {}) for name, section in SECTIONS.items()}
    path = folder / "tiny.contest.run.yml"
    path.write_text(yaml.safe_dump(values))
    return path


def result_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text()))


def without_times(values: Any) -> Any:
    if isinstance(values, dict):
        dropped = (
            "minutes",
            "search_minutes",
            "selection_minutes",
            "peak_memory_gib",
            "architecture",
            CHECKSUM,
        )
        return {key: without_times(value) for key, value in values.items() if key not in dropped}
    return [without_times(value) for value in values] if isinstance(values, list) else values


@pytest.fixture(scope="module", params=["searched", "random"])
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, demo_set: Path
) -> Path:
    folder = tmp_path_factory.mktemp(f"contest-{request.param}")
    return run_contest(write_config(folder, demo_set, contest={"contender": request.param}))


def test_the_best_on_the_inner_fold_is_trained(finished: Path) -> None:
    result = result_of(finished)
    best = max(result["selection"], key=lambda each: each["default"])
    assert len(result["selection"]) == 2
    assert result["architecture"] == best["architecture"]
    trained = Genotype.load(finished / "final" / "genotype.json")
    assert trained == Genotype.load(finished / result["architecture"])
    final = result_of(finished / "final")
    assert result["default"] == final["default"]
    assert final["label"] == result["contender"]
    assert final["search_minutes"] == result["search_minutes"] + result["selection_minutes"]


def test_all_trainings_have_the_budget(finished: Path, demo_set: Path) -> None:
    result, dataset = result_of(finished), read_dataset(demo_set)
    config = ContestConfig.load(finished / "run.yml")
    budget = contest_limits(config, dataset).multiply_adds
    for each in (result, *result["selection"]):
        assert each["multiply_adds"] == pytest.approx(
            budget, rel=0.1
        )  # quarter base channels come no nearer here


def test_no_scored_case_was_seen_by_search_or_choice(finished: Path, demo_set: Path) -> None:
    dataset = read_dataset(demo_set)
    scored = {case.case_id for case in split_fold(dataset, fold=2, num_folds=5, seed=0)[1]}
    inner = {case.case_id for case in split_fold(dataset, fold=3, num_folds=5, seed=0)[1]}
    for name in ("selection/0", "selection/1"):
        training = prepare(TrainConfig.load(finished / name / "run.yml"), finished / name, finished)
        assert {case.case_id for case in training.held_out} == inner
        assert not {case.case_id for case in training.learned} & (scored | inner)
    final = prepare(TrainConfig.load(finished / "final" / "run.yml"), finished / "final", finished)
    assert {case.case_id for case in final.held_out} == scored
    assert {case.case_id for case in final.learned} == {case.case_id for case in dataset.cases} - scored
    assert (
        final.config.train.validate_every == final.config.train.epochs
    )  # nothing is chosen on the scored fold
    if (finished / "search").exists():
        search = yaml.safe_load((finished / "search" / "run.yml").read_text())["search"]
        assert (search["left_out_fold"], search["validation_fold"]) == (2, 3)
        assert FrontRecord.load(finished / "search").is_finished


def test_a_stopped_contest_continues_to_the_same_result(
    finished: Path, tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contender = result_of(finished)["contender"]
    config = write_config(tmp_path, demo_set, contest={"contender": contender})
    train, calls = contest_run.run_training, []

    def stopping(path: Path, **others: Any) -> Path:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(path, **others)

    with monkeypatch.context() as patched:
        patched.setattr(contest_run, "run_training", stopping)
        with pytest.raises(KeyboardInterrupt):
            run_contest(config)
    assert without_times(result_of(run_contest(config))) == without_times(result_of(finished))


def test_a_comparison_takes_the_scored_training_alone(finished: Path, tmp_path: Path) -> None:
    """Not the trainings that they chose by, and a note for one that is not finished."""
    runs = tmp_path / "contests"
    shutil.copytree(finished, runs / "0")
    shutil.copytree(finished, runs / "unfinished", ignore=shutil.ignore_patterns("final*"))
    found = find_trainings([str(runs)])
    assert [training.folder for training in found.finished] == [runs / "0" / "final"]
    (note,) = found.notes
    assert note.endswith("has not begun its final training; left out")


@pytest.mark.parametrize(
    "name",
    [name for name in CONTENDERS if name not in GRADIENT_SEARCHES and name not in MEASURED_SEARCHES],
)
def test_controls_propose_within_the_same_space(name: str, tmp_path: Path, demo_set: Path) -> None:
    config = ContestConfig.load(write_config(tmp_path, demo_set, contest={"contender": name, "proposals": 3}))
    limits = contest_limits(config, read_dataset(demo_set))
    found = propose(config, tmp_path, limits).architectures
    assert len(found) == (3 if name in ("random", "unet-widths") else 1)
    if name == "random":
        assert len(set(found)) == 3
        assert all(limits.excess(genotype) == 0 for genotype in found)
        assert all(genotype.edge_scale and unet_edges(3) <= set(genotype.edges) for genotype in found)
    if name == "unet-widths":
        assert found[0].widths == (1.0, 1.0, 1.0)
        assert all(set(genotype.edges) == unet_edges(3) for genotype in found)
    if name in ("unet", "unet++", "res-unet", "dla"):
        assert found == [presets.get(name, 3)]
    if name == "all-edges":
        assert set(found[0].edges) == set(Grid(3).edges)
        assert "identity" in found[0].operations.values()
    if name in ("dynunet", "monai-unet++", "u-resnet"):
        assert found == [name]


@pytest.mark.parametrize(
    ("strategy", "taken"),
    [("evolution", "evolution"), ("single-path", "single-path"), ("sparse-darts", "single-path")],
)
def test_the_search_takes_the_strategy_if_it_measures(
    strategy: str, taken: str, tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):
        pass

    def search_once(config: RunConfig, *_: object) -> Path:
        raise Begun(config.search.strategy)

    monkeypatch.setattr("uxnet_eval.contest.proposals.search_once", search_once)
    space = {"width_choices": [1.0]} if strategy == "sparse-darts" else {}
    path = write_config(tmp_path, demo_set, search={"strategy": strategy}, space=space)
    config = ContestConfig.load(path)
    with pytest.raises(Begun, match=f"^{taken}$"):
        propose(config, tmp_path, contest_limits(config, read_dataset(demo_set)))


@pytest.mark.slow
def test_a_search_measures_on_more_cases_than_the_inner_fold(tmp_path: Path, demo_set: Path) -> None:
    """They are not of the outer fold, and the others learn."""
    cases = tuple(Case(f"case_{number:02d}", tmp_path, tmp_path) for number in range(30))
    dataset = replace(read_dataset(demo_set), cases=cases)
    outer = {case.case_id for case in split_fold(dataset, fold=2, num_folds=5, seed=SPLIT_SEED)[1]}
    for number, expected in ((None, 6), (7, 7), (20, 8)):  # at most a third of 24
        config = ContestConfig.load(write_config(tmp_path, demo_set, contest={"measured_cases": number}))
        seen, split = split_for(config.search_config({}), dataset)
        assert len(split.validation) == expected and len(seen.cases) == 24
        assert not outer & {case.case_id for case in seen.cases}


@pytest.mark.parametrize(
    "name",
    ["searched-unet-edges", "searched-widths", "paper", "scnas", "ronasmis", "gates", "perturbation"],
)
def test_other_searches_run(name: str, tmp_path: Path, demo_set: Path) -> None:
    folder = run_contest(
        write_config(
            tmp_path, demo_set, contest={"contender": name}, search={"epochs": 3, "warmup_epochs": 1}
        )
    )
    genotype = Genotype.load(folder / "final" / "genotype.json")
    settings = yaml.safe_load((folder / "search" / "run.yml").read_text())["search"]
    assert (settings["left_out_fold"], settings["validation_fold"]) == (2, 3)
    assert result_of(folder)["search_minutes"] > 0
    if name == "paper":
        assert (settings["strategy"], settings["commit"]) == ("sparse-darts", False)
        assert genotype.widths is None
    elif name in ("gates", "perturbation"):
        assert (settings["strategy"], settings["decide_by"]) == ("sparse-darts", name)
        assert genotype.edge_scale and unet_edges(3) <= set(genotype.edges)
        proposed = {Genotype.load(path) for path in (folder / "proposals").glob("*.json")}
        record = SearchRecord.load(folder / "search")
        taus = GATE_THRESHOLDS if name == "gates" else (None,)
        assert proposed and proposed <= {record.genotype(tau) for tau in taus}
    else:
        assert set(genotype.edges) == unet_edges(3)
        assert settings["strategy"] == ("single-path" if name.startswith("searched") else name)
        if name == "searched-widths":
            assert genotype.operations == presets.get("unet", 3).operations


def trial(
    folder: Path, config: Path, contender: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[dict[str, Any]]]:
    """Runs a contender as NNI runs a trial; its folder, and what it reports."""
    reported: list[dict[str, Any]] = []
    with monkeypatch.context() as patched:
        patched.setenv("NNI_OUTPUT_DIR", str(folder))
        patched.setattr(contest_run, "is_nni_trial", lambda: True)
        patched.setattr(contest_run, "trial_output", lambda: folder)
        patched.setattr(contest_run, "next_parameters", lambda: {"contender": contender})
        patched.setattr(contest_run, "report_final", reported.append)
        folder.mkdir(parents=True)
        return run_contest(config), reported


@pytest.mark.slow
def test_rows_of_table_1_leave_the_scored_fold_out_and_share_the_search_of_all_taus(
    tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = {"epochs": 3, "warmup_epochs": 1, "beta_learning_rate": 0.6, "steps_per_epoch": 3}
    config = write_config(tmp_path, demo_set, search=search, contest={"proposals": 1})
    trials, found = tmp_path / "experiment" / "trials", dict[str, Genotype]()
    for name in ("paper-tau-0.60", "paper", "paper-tau-0.90", "paper-sbb", "paper-mssa"):
        folder, reported = trial(trials / name, config, name, monkeypatch)
        assert len(reported) == 1 and reported[0]["search_minutes"] > 0
        assert not (folder / "selection").exists()
        found[name] = Genotype.load(folder / "final" / "genotype.json")
    searches = sorted((tmp_path / "experiment" / "searches").glob("*/search"))
    assert len(searches) == 3  # one for all taus
    both = []
    for place in searches:
        settings = yaml.safe_load((place / "run.yml").read_text())
        assert (settings["search"]["left_out_fold"], settings["search"]["validation_fold"]) == (2, 3)
        assert settings["search"]["prune_threshold"] == 0.75
        if settings["space"]["search_blocks"] and settings["space"]["search_edges"]:
            both.append(SearchRecord.load(place))
    (record,) = both
    for name, tau in (("paper-tau-0.60", 0.60), ("paper", 0.75), ("paper-tau-0.90", 0.90)):
        assert found[name] == record.genotype(tau)
    assert set(found["paper-sbb"].edges) == unet_edges(3)
    assert set(found["paper-mssa"].operations.values()) <= {"2xconv3", "max_pool", "transposed_conv"}


@pytest.mark.parametrize("contender", ["random", "unet-widths"])
def test_contenders_keep_a_limit_of_activations(contender: str, tmp_path: Path, demo_set: Path) -> None:
    path = write_config(tmp_path, demo_set, contest={"contender": contender, "proposals": 3})
    config = ContestConfig.load(path).override({"max_activations": 130_000})
    limits = contest_limits(config, read_dataset(demo_set))
    found = propose(config, tmp_path, limits).architectures
    assert len(found) == 3
    assert all(genotype_activations(each, limits.config, limits.patch_size) <= 130_000 for each in found)


@pytest.mark.slow
def test_contenders_at_the_latency_of_the_unet(
    tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share one table of latencies, and none has more of anything than the U-Net, as measured."""
    monkeypatch.setattr("uxnet_eval.search.latencies.LatencyMeter", OddMeter)
    searches = tmp_path / "searches"
    for name in ("searched", "random", "unet-widths"):
        (tmp_path / name).mkdir()
        config = write_config(
            tmp_path / name, demo_set, contest={"contender": name}, search={"strategy": "regression"}
        )
        folder = run_contest(config, overrides={"latency_ms": "unet"}, searches=searches)
        (path,) = searches.glob("latency-*/latency.json")
        table = LatencyTable.load(path)
        limits = contest_limits(ContestConfig.load(config), read_dataset(demo_set))
        known = folder if name != "searched" else next(searches.glob("*/search"))
        latencies = network_latencies(known, limits.config, table, RuntimeSettings())
        unet_ms = latencies.unet_ms
        for proposed in (folder / "proposals").glob("*.json"):
            genotype = Genotype.load(proposed)
            assert limits.cost(genotype).multiply_adds <= limits.multiply_adds
            assert limits.cost(genotype).parameters <= limits.parameters
            assert latencies.measured_ms(genotype) <= unet_ms
            assert latencies._meter.calls == 0  # the run measured it
        network = TrainConfig.load(folder / "final" / "run.yml").network
        assert (network.base_channels, network.multiply_adds) == (4, None)
    (search,) = searches.glob("*/search")
    assert (search / "latency.json").read_bytes() == path.read_bytes()
    record = FrontRecord.load(search)
    assert len(record.measured) == 4 and record.latency_ms == unet_ms


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("contest", {"contender": "serched"}, "contender"),
        ("contest", {"inner_fold": 2}, "inner_fold and outer_fold are both 2; give two folds"),
        ("search", {"left_out_fold": 1}, "search.left_out_fold: the contest sets it"),
        ("train", {"left_out_fold": 1}, "train.left_out_fold: the contest sets it"),
        ("budget", {"multiply_adds": 5}, "the smallest needs"),
        ("budget", {"latency_ms": "u-net"}, "'u-net' is neither a number of milliseconds above 0 nor unet"),
        ("budget", {"latency_ms": 0}, "0 is neither a number of milliseconds"),
    ],
)
def test_every_fault_has_its_line(
    section: str, change: dict[str, Any], message: str, tmp_path: Path, demo_set: Path
) -> None:
    values = yaml.safe_load(write_config(tmp_path, demo_set).read_text())
    values[section] = values.get(section, {}) | change
    path = tmp_path / "faulty.run.yml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=message):
        run_contest(path)


def test_a_network_outside_the_space_cannot_be_brought_to_a_latency(tmp_path: Path, demo_set: Path) -> None:
    config = write_config(tmp_path, demo_set, contest={"contender": "dynunet"})
    with pytest.raises(UserError, match=r"budget: dynunet cannot be brought to a latency or to activations"):
        run_contest(config, overrides={"latency_ms": "unet"})


def test_a_name_of_search_and_training_is_not_overridden_in_half(tmp_path: Path, demo_set: Path) -> None:
    config = ContestConfig.load(write_config(tmp_path, demo_set))
    with pytest.raises(
        UserError, match=r"'epochs' stands in several sections; write search.epochs or train.epochs"
    ):
        config.override({"epochs": 3})
    assert config.override({"search.epochs": 3}).search.epochs == 3
    assert config.override({"search.epochs": 3}).train.epochs == SECTIONS["train"]["epochs"]
    assert config.override({"seed": 3}).contest.seed == 3
    assert config.override({"strategy": "evolution"}).search.strategy == "evolution"
