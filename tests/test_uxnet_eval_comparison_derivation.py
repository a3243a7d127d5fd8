"""uxnet derive: the different genotypes of several searches and thresholds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from finished_trainings import made_up_experiment, made_up_training, trial_folder
from search_runs import FINAL, made_up_record, made_up_run
from typer.testing import CliRunner

from search_space import Genotype, presets
from search_space.errors import UserError
from search_space.presets import default_operation, unet_edges
from uxnet_eval import cli
from uxnet_eval.architectures.controls import control_genotype
from uxnet_eval.search.derivation import architecture_choice, derive_genotypes
from uxnet_eval.search.export import export_genotype


@pytest.fixture(autouse=True)
def no_experiments_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def open_gates(folder: Path, gate: float) -> Path:
    """A search all of whose gates ended at the same value."""
    record = made_up_record()
    record.gates = dict.fromkeys(record.gates, gate)
    folder.mkdir(parents=True, exist_ok=True)
    record.save(folder)
    return folder


def test_equal_genotypes_are_kept_once(tmp_path: Path) -> None:
    found, notes = derive_genotypes([str(open_gates(tmp_path / "run", 0.8))], [0.5, 0.6, 0.75, 0.9])
    # All 11 edges at the first three; at 0.9 none, so the widest path, of 2 edges, comes back.
    assert {name: len(genotype.edges) for name, genotype in found.items()} == {
        "run-tau-0.5": 11,
        "run-tau-0.9": 2,
    }
    assert notes[:2] == [
        "run-tau-0.6: the same as run-tau-0.5; left out",
        "run-tau-0.75: the same as run-tau-0.5; left out",
    ]
    assert "restored the widest one" in notes[2]
    assert found["run-tau-0.9"].provenance["prune_threshold"] == 0.9


def test_trials_of_an_experiment(tmp_path: Path) -> None:
    experiment = made_up_experiment(
        tmp_path / "AbCd1234",
        {"aaaaa": ("SUCCEEDED", FINAL), "bbbbb": ("SUCCEEDED", FINAL), "ccccc": ("RUNNING", {})},
    )
    made_up_run(trial_folder(experiment, "aaaaa"), seed=1)
    made_up_run(trial_folder(experiment, "bbbbb"), seed=2)
    found, notes = derive_genotypes([str(experiment)], [0.5])
    assert list(found) == ["trial-0-tau-0.5", "trial-1-tau-0.5"]
    assert found["trial-1-tau-0.5"].provenance["trial_id"] == "bbbbb"
    assert "trial-2 (ccccc): RUNNING, the search is not finished; left out" in notes


def test_edges_with_the_operations_of_the_unet(tmp_path: Path) -> None:
    found, _ = derive_genotypes([str(open_gates(tmp_path / "run", 0.8))], [0.5], unet_operations=True)
    searched, plain = found["run-tau-0.5"], found["run-tau-0.5-unet-operations"]
    assert plain.edges == searched.edges and plain.operations != searched.operations
    assert plain.operations == {layer: default_operation(layer) for layer in searched.layers}
    assert plain.provenance["gates"] == searched.provenance["gates"]
    # Its controls have the U-Net's operations too, though its provenance still tells the searched ones.
    assert control_genotype("all-edges", plain, 3) == presets.get("full", searched.levels)
    assert set(control_genotype("random:0", plain, 3).operations.values()) <= set(plain.operations.values())


def test_operations_on_the_edges_of_the_unet(tmp_path: Path) -> None:
    found, _ = derive_genotypes([str(open_gates(tmp_path / "run", 0.8))], [0.5], unet_edges=True)
    searched, plain = found["run-tau-0.5"], found["run-tau-0.5-unet-edges"]
    assert plain == control_genotype("searched-operations", searched, 3)
    assert set(plain.edges) == unet_edges(plain.levels) and plain.provenance["gates"]
    # Its controls have the U-Net's edges too; with the U-Net's operations as well, it is the U-Net.
    assert set(control_genotype("random:0", plain, 3).edges) == unet_edges(plain.levels)
    assert control_genotype("searched-edges", plain, 3) == presets.get("unet", plain.levels)


def test_sources_without_a_search(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds neither search\.json .* nor db/nni\.sqlite"):
        derive_genotypes([str(tmp_path / "empty")])
    with pytest.raises(UserError, match=r"experiment 'XyZ' is not known to NNI"):
        derive_genotypes(["XyZ"])
    experiment = made_up_experiment(tmp_path / "AbCd1234", {"aaaaa": ("FAILED", {})})
    with pytest.raises(UserError, match=r"no search has a record .*; trial-0 \(aaaaa\): FAILED"):
        derive_genotypes([str(experiment)])
    with pytest.raises(UserError, match=r"run: two searches have this name"):
        folders = [open_gates(tmp_path / "a" / "run", 0.8), made_up_run(tmp_path / "b" / "run", seed=4)]
        derive_genotypes(list(map(str, folders)), [0.5])


def test_command_prints_what_an_experiment_needs(tmp_path: Path) -> None:
    output = tmp_path / "genotypes"
    command = ["derive", str(open_gates(tmp_path / "run", 0.8)), "-o", str(output)]
    run = CliRunner().invoke(cli.app, command, catch_exceptions=False)
    assert run.exit_code == 0
    line, last = run.output.strip().splitlines()[-2:]
    assert last.startswith("next: uxnet experiments copy hippocampus.select ")
    choice = yaml.safe_load(line)["architecture"]
    assert choice["_type"] == "choice"
    assert [len(Genotype.load(path).edges) for path in choice["_value"]] == [11, 2]
    with pytest.raises(UserError, match=r"run-tau-0\.5\.json: exists already"):
        CliRunner().invoke(cli.app, command, catch_exceptions=False)


def test_choice_is_one_line_however_long() -> None:
    paths = [Path(f"genotypes/a-long-name-of-a-search-tau-0.{i}.json") for i in range(40)]
    assert "\n" not in architecture_choice(paths)


def test_export_gives_the_best_genotype_of_a_selection(tmp_path: Path) -> None:
    """Of an experiment of trainings; a baseline has none to give."""
    finals = {"aaaaa": 0.7, "bbbbb": 0.8, "ccccc": 0.6}
    experiment = made_up_experiment(
        tmp_path / "AbCd1234", {trial: ("SUCCEEDED", {"default": dice}) for trial, dice in finals.items()}
    )
    for trial, name in (("aaaaa", "unet"), ("bbbbb", "full")):
        genotype = presets.get(name, 3)
        made_up_training(trial_folder(experiment, trial), name, {"A": (0.5, 0.5)}, genotype=genotype)
    made_up_training(trial_folder(experiment, "ccccc"), "dynunet", {"A": (0.5, 0.5)})
    genotype, trial = export_genotype(experiment)
    assert genotype == presets.get("full", 3) and trial is not None and trial.id == "bbbbb"
    with pytest.raises(UserError, match=r"trial ccccc: trained a baseline, which has no genotype"):
        export_genotype(experiment, trial="ccccc")
    with pytest.raises(
        UserError, match=r"trial bbbbb: is a training of a fixed genotype; leave the prune threshold"
    ):
        export_genotype(experiment, prune_threshold=0.6)
