"""A whole search by measurement on tiny data: what it writes, that it continues, its front, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from search_space import Genotype, UserError
from uxnet_eval import cli
from uxnet_eval.config.search import RunConfig
from uxnet_eval.config.training import TrainSettings
from uxnet_eval.dataset.folds import split_fold
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.runs.front_record import FrontRecord
from uxnet_eval.search import choosing
from uxnet_eval.search.data import split_for
from uxnet_eval.search.export import export_genotype
from uxnet_eval.search.run import run_search
from uxnet_eval.search.short_training import ShortTraining, from_random_weights

SECTIONS: dict[str, dict[str, Any]] = {
    "space": {
        "base_channels": 4,
        "width_choices": [0.5, 1.0],
        "anchored_edges": True,
        "edge_scale": True,
        "pass_through": True,
        "normal_candidates": ["conv3", "2xconv3"],
    },
    "search": {
        "strategy": "single-path",
        "epochs": 2,
        "steps_per_epoch": 2,
        "validation_cases": 1,
    },
    "choice": {
        "num_measured": 6,
        "population": 3,
        "finetune_steps": 2,
        "budget_shares": [1.0, 0.6],
        "measure_latency": False,
    },
}


def write_config(folder: Path, dataset: Path, **changes: dict[str, Any]) -> Path:
    values = {
        "dataset": str(dataset),
        "output": str(folder / "out"),
        "plan": {
            "spatial_dims": 3,
            "spacing_mm": [1.0] * 3,
            "patch_size": [16] * 3,
            "strides": [[2] * 3] * 2,
            "batch_size": 1,
        },
        "runtime": {"num_threads": 1, "precision": "float32"},
    }
    for name, section in SECTIONS.items():
        values[name] = section | changes.get(name, {})
    path = folder / "tiny.run.yml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, demo_set: Path) -> Path:
    folder = tmp_path_factory.mktemp("single-path")
    return run_search(write_config(folder, demo_set))


def measurements(folder: Path) -> list[Any]:
    return [each.model_dump() for each in FrontRecord.load(folder).measured]


def test_the_record_holds_every_measurement(finished: Path) -> None:
    record = FrontRecord.load(finished)
    assert record.is_finished
    for share in (1.0, 0.6):
        found = [each for each in record.measured if each.budget_share == share]
        assert len(found) == 6
        assert all(each.finetuned_dice is not None for each in found)
        assert all(0.85 * share * record.multiply_adds <= each.multiply_adds for each in found)
        assert all(each.multiply_adds <= share * record.multiply_adds for each in found)
    best = record.best(multiply_adds=record.multiply_adds)
    result = json.loads((finished / "result.json").read_text())
    assert result["default"] == best.dice == max(each.finetuned_dice or 0 for each in record.measured)
    assert Genotype.load(finished / "genotype.json") == best.genotype
    assert Genotype.load(finished / "genotype.json").provenance["dataset"] == "Demo"


@pytest.mark.parametrize("stops", ["training", "measuring"])
def test_a_stopped_search_continues_to_the_same_front(
    stops: str, finished: Path, tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, demo_set)
    calls = {"finetuned": 0}
    if stops == "training":
        from uxnet_eval.search.single_path_module import SinglePathModule

        step = SinglePathModule.training_step

        def stopping(self: SinglePathModule, batch: Any, batch_idx: int) -> Any:
            if self.current_epoch == 1 and batch_idx == 1:
                raise KeyboardInterrupt
            return step(self, batch, batch_idx)

        target: tuple[Any, str, Any] = (SinglePathModule, "training_step", stopping)
    else:
        tune = choosing.Chooser._finetuned_dice

        def finetune(self: choosing.Chooser, genotype: Genotype) -> float:
            calls["finetuned"] += 1
            if calls["finetuned"] == 8:
                raise KeyboardInterrupt
            return tune(self, genotype)

        target = (choosing.Chooser, "_finetuned_dice", finetune)
    with monkeypatch.context() as patched:
        patched.setattr(*target)
        with pytest.raises(KeyboardInterrupt):
            run_search(config)
    assert not (tmp_path / "out" / "result.json").exists()
    folder = run_search(config)
    assert measurements(folder) == measurements(finished)


def test_finalists_alone_count_and_are_trained_once(
    tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of each budget; stopped in their trainings, the search ends as without a stop."""
    config = write_config(tmp_path, demo_set, choice={"finalists": 2, "finalist_steps": 1})
    trained, calls = ShortTraining.trained_dice, 0

    def training(self: ShortTraining, network: Any, settings: TrainSettings) -> float:
        nonlocal calls
        calls += settings == from_random_weights(1, 3e-3)
        if calls == 2:
            raise KeyboardInterrupt
        return trained(self, network, settings)

    with monkeypatch.context() as patched:
        patched.setattr(ShortTraining, "trained_dice", training)
        with pytest.raises(KeyboardInterrupt):
            run_search(config)
    folder = run_search(config)
    record = FrontRecord.load(folder)
    for share in (1.0, 0.6):
        measured = [each for each in record.measured if each.budget_share == share]
        best = sorted(measured, key=lambda each: -each.score)[:2]
        assert len(measured) == 6
        assert [each for each in measured if each.finalist_dice is not None] == [
            each for each in measured if each in best
        ]
    dice = {each.finalist_dice for each in record.measured if each.finalist_dice is not None}
    assert {each.dice for each in record.candidates()} == dice
    whole = tmp_path / "whole"
    whole.mkdir()
    undisturbed = run_search(write_config(whole, demo_set, choice={"finalists": 2, "finalist_steps": 1}))
    assert FrontRecord.load(undisturbed).measured == record.measured
    assert Genotype.load(folder / "genotype.json") in [each.genotype for each in record.candidates()]


@pytest.mark.parametrize("strategy", ["single-path", "random", "regression"])
def test_a_time_limit_ends_the_measurements(
    strategy: str, tmp_path: Path, demo_set: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One measurement per budget is made in any case, and the rest of the search is as ever."""
    limit = {**SECTIONS["choice"], "max_minutes": 1e-6}
    config = write_config(tmp_path, demo_set, search={"strategy": strategy}, choice=limit)
    record = FrontRecord.load(run_search(config))
    assert record.is_finished
    assert [each.budget_share for each in record.measured] == [1.0, 0.6]
    assert "budget 1.00: the time is up after 1 of 6 measurements" in caplog.text


def test_a_finished_search_is_left_alone(finished: Path, tmp_path: Path, demo_set: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "out")
    before = (copy / "front.json").read_bytes()
    run_search(write_config(tmp_path, demo_set))
    assert (copy / "front.json").read_bytes() == before


def test_export_takes_the_best_within_a_budget(finished: Path) -> None:
    record = FrontRecord.load(finished)
    cheapest = record.front()[0]
    genotype, _ = export_genotype(finished, max_multiply_adds=cheapest.cost.multiply_adds)
    assert genotype == cheapest.genotype
    assert genotype.provenance["multiply_adds"] == cheapest.cost.multiply_adds
    with pytest.raises(UserError, match=r"needs at most 10 multiply-adds; the smallest needs \d"):
        export_genotype(finished, max_multiply_adds=10)
    with pytest.raises(UserError, match="has no gates to prune; leave the prune threshold out"):
        export_genotype(finished, prune_threshold=0.5)


def test_front_command(finished: Path, tmp_path: Path) -> None:
    picture = tmp_path / "front.png"
    shown = CliRunner().invoke(cli.app, ["front", str(finished), "-o", str(picture)])
    assert shown.exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    cheapest = FrontRecord.load(finished).front()[0].cost
    assert f"{cheapest.parameters:,}" in shown.output
    assert f"--max-multiply-adds {cheapest.multiply_adds}" in shown.output
    assert "ms per patch" not in shown.output  # latency was not measured
    assert all(len(line) <= 80 for line in shown.output.splitlines() if not line.startswith("next:"))


def test_an_unfinished_front_is_marked(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "unfinished")
    record = FrontRecord.load(copy)
    record.is_finished = False
    record.save(copy)
    shown = CliRunner().invoke(cli.app, ["front", str(copy)])
    assert "not finished; this is the front so far" in shown.output


def test_a_damaged_front_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="writes it with its first measured network"):
        FrontRecord.load(tmp_path)
    (tmp_path / "front.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        FrontRecord.load(tmp_path)
    (tmp_path / "front.json").write_text('{"format": "uxnet-front", "version": 9}')
    with pytest.raises(UserError, match="version 9, this program reads 1"):
        FrontRecord.load(tmp_path)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("budget", {"multiply_adds": 10}, r"at most 12 multiply-adds; the smallest needs [\d,]+"),
        (
            "budget",
            {"multiply_adds": 1e12},
            r"within the limits: 85% to 100% of 1e\+12 multiply-adds.*; random networks need [\d.e+]+ to",
        ),
        ("space", {"normal_candidates": ["conv3"]}, "does not offer '2xconv3', which the U-Net has there"),
        ("space", {"pass_through": False}, "does not offer 'identity'.*or set pass_through: true"),
        ("budget", {"latency_ms": 5}, "needs the table of latencies; set choice.measure_latency: true"),
        ("choice", {"population": 9}, "population 9 is more than num_measured 6"),
        ("choice", {"budget_shares": [2.0]}, "expected shares above 0 and at most 1"),
        ("search", {"validation_fold": 1, "left_out_fold": 1}, "are both 1; give two folds"),
        (
            "search",
            {"strategy": "sparse-darts"},
            "sparse-darts searches no widths, but operations and edges; use strategy: single-path",
        ),
        (
            "search",
            {"strategy": "singlepath"},
            r"unknown \(did you mean 'single-path'\?\); known: sparse-darts",
        ),
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
        run_search(path)


def test_folds_nest(tmp_path: Path, demo_set: Path) -> None:
    """The outer fold is seen by nothing, the inner one is validated on alone, whatever the seed."""
    dataset = read_dataset(demo_set)
    folds = [{case.case_id for case in split_fold(dataset, fold=f, num_folds=5, seed=0)[1]} for f in range(5)]
    splits = []
    for seed in (0, 1):
        path = write_config(
            tmp_path, demo_set, search={"left_out_fold": 0, "validation_fold": 1, "seed": seed}
        )
        left, split = split_for(RunConfig.load(path), dataset)
        assert {case.case_id for case in split.validation} == folds[1]
        seen = {case.case_id for case in (*split.architecture, *split.weights)}
        assert seen == folds[2] | folds[3] | folds[4]
        assert {case.case_id for case in left.cases} == seen | folds[1]
        splits.append(split)
    assert splits[0] != splits[1]
    path = write_config(tmp_path, demo_set, search={"split_seed": 7, "seed": 1})
    again = write_config(tmp_path, demo_set, search={"split_seed": 7, "seed": 2})
    assert split_for(RunConfig.load(path), dataset) == split_for(RunConfig.load(again), dataset)


@pytest.mark.parametrize(
    ("change", "is_inherited"),
    [({"sandwich": True}, False), ({"measure_inherited": True}, True), ({"finetune_steps": 0}, True)],
)
def test_what_is_measured(change: dict[str, Any], is_inherited: bool, tmp_path: Path, demo_set: Path) -> None:
    choice = {"num_measured": 2, "population": 2, "budget_shares": [1.0], **change}
    record = FrontRecord.load(run_search(write_config(tmp_path, demo_set, choice=choice)))
    for measured in record.measured:
        assert (measured.inherited_dice is not None) == is_inherited
        assert (measured.finetuned_dice is not None) == (change.get("finetune_steps") != 0)
        assert measured.score in (measured.inherited_dice, measured.finetuned_dice)
