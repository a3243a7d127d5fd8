"""The report: what it reads, in whatever state; trainings and scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from search_runs import made_up_record, made_up_run
from typer.testing import CliRunner

from search_space import presets
from search_space.errors import UserError
from uxnet_eval import cli
from uxnet_eval.report import read_source, write_report
from uxnet_eval.report.page import page_data
from uxnet_eval.report.search_run import read_search, run_data
from uxnet_eval.report.training_run import read_training
from uxnet_eval.runs.files import write_json

# Bad input -------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_run_is_an_error_that_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is empty; expected search\.json"):
        read_source(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"holds no run \(1 other files or folders, such as notes\.txt\)"):
        read_source(tmp_path)
    with pytest.raises(UserError, match=r"no such folder"):
        read_source(tmp_path / "absent")
    with pytest.raises(UserError, match=r"is a file"):
        read_source(tmp_path / "notes.txt")


def test_an_unknown_experiment_is_an_error_that_lists_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"'nonesuch' is not known to NNI.*it knows none"):
        read_source("nonesuch")


BROKEN = {
    "before the first validation": ({"run.yml": "dataset: x\n"}, "no search.json yet: the run began before"),
    "killed before the first validation": (
        {"run.yml": "dataset: x\n", "checkpoint.ckpt": ""},
        "no search.json yet: the run stopped before",
    ),
    "half a record": ({"search.json": '{"format": "uxnet-search", "versi'}, "search.json: not JSON"),
    "older format": (
        {"search.json": '{"format": "uxnet-search", "version": 0}'},
        "version 0, this program reads 1",
    ),
    "a field that cannot be": (
        {
            "search.json": json.dumps(
                {"format": "uxnet-search", "version": 1, **vars(made_up_record()), "history": True}
            )
        },
        "incomplete or damaged: history: Input should be a valid list, found True; search again",
    ),
    "no threshold": (
        {
            "search.json": json.dumps(
                {"format": "uxnet-search", "version": 1, **vars(made_up_record()), "prune_threshold": None}
            )
        },
        "prune_threshold: Input should be a valid number, found None; search again",
    ),
    "another file": ({"search.json": "[1, 2]"}, "not the record of a search"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_half_a_run_gives_a_page_that_says_what_is_missing(case: str, tmp_path: Path) -> None:
    files, message = BROKEN[case]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    source = read_source(tmp_path)
    assert any(message in note for note in source.all_notes), source.all_notes
    assert all("\n" not in note for note in source.all_notes)
    assert page_data(source)["runs"][0]["hasRecord"] is False
    write_report(tmp_path, tmp_path / "report.html")


def test_truncated_result_and_diverged_validations_are_noted_and_the_rest_is_shown(tmp_path: Path) -> None:
    record = made_up_record(num_epochs=4)
    record.history[1] = {**record.history[1], "gates": {**record.gates, "N0.0-N0.1": float("nan")}}
    record.history[2] = {"epoch": 2}
    record.save(tmp_path)
    (tmp_path / "result.json").write_text('{"defau')
    run = read_search(tmp_path, "run")
    assert run_data(run)["epochs"] == [1, 4]
    assert any("2 of 4 validations have no usable gates" in note for note in run.notes)
    assert any("result.json: cannot be read" in note for note in run.notes)


def test_an_unfinished_run_shows_its_newest_validation(tmp_path: Path) -> None:
    made_up_run(tmp_path, finished=False)
    run = read_search(tmp_path, "this run")
    assert run.status == "not finished" and run.final == {}
    assert run.notes == ["this run: no final result yet; shown is the newest validation"]


# Scores and trainings --------------------------------------------------------------------------------------------

CASES = """case_id,class,dice,hd95_mm,nsd,reference_volume_mm3,predicted_volume_mm3
001,organ,0.9,1.5,0.95,100,110
002,organ,,,,0,0
"""


def test_scores_are_shown_without_a_summary_too(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text(CASES)
    (scores,) = read_source(tmp_path).scores
    assert scores["caseIds"] == ["001", "002"] and scores["columns"]["dice"] == [0.9, None]
    assert any("summary.json: missing" in note for note in read_source(tmp_path).all_notes)
    (tmp_path / "summary.json").write_text('{"classes": {"organ": {"dice": {"mean": NaN}}}}')
    (scores,) = read_source(tmp_path).scores
    assert scores["summary"]["classes"]["organ"]["dice"]["mean"] is None
    (tmp_path / "summary.json").write_text(
        '{"mean_dice": "x", "classes": {"organ": {"dice": {"mean": 0.5, "sd": [1], "interval_95": [0.4]}, "nsd": 3}, "b": 0}}'
    )
    (scores,) = read_source(tmp_path).scores
    assert scores["summary"]["mean_dice"] is None
    assert scores["summary"]["classes"] == {
        "organ": {"dice": {"mean": 0.5, "sd": None, "num_cases": None, "interval_95": None}},
        "b": {},
    }
    write_report(tmp_path, tmp_path / "report.html")


def test_the_command_writes_the_page_and_tells_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made_up_run(tmp_path / "run", finished=False)
    done = CliRunner().invoke(cli.app, ["report", "run"])
    assert done.exit_code == 0
    assert "note: run: no final result yet" in done.output and "wrote report.html" in done.output
    assert (tmp_path / "report.html").stat().st_size > 10_000
    for output, message in (
        ("page.pdf", "expected a name that ends in .html"),
        ("no/page.html", "does not exist"),
    ):
        with pytest.raises(UserError, match=message):
            CliRunner().invoke(cli.app, ["report", "run", "-o", output], catch_exceptions=False)


@pytest.mark.parametrize("text", ["", "case_id,dice\n1,0.5\n", "\x00\x01"])
def test_a_broken_table_is_noted(text: str, tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text(text)
    made_up_run(tmp_path)
    source = read_source(tmp_path)
    assert source.scores == [] and len(source.searches) == 1
    assert any("cases.csv: not a table of scores" in note for note in source.all_notes)


def test_a_training_shows_its_curves_before_and_after_its_end(tmp_path: Path) -> None:
    entry = {"epoch": 5, "loss": 0.7, "val_dice": 0.8, "class_dice": {"organ": 0.8}, "minutes": 1.0}
    write_json(tmp_path / "training.json", {"history": [entry, {**entry, "epoch": 10, "loss": float("nan")}]})
    notes: list[str] = []
    training = read_training(tmp_path, "fold 0", notes)
    assert training is not None
    assert training["curves"] == {
        "epoch": [5, 10],
        "loss": [0.7, None],
        "dice": [0.8, 0.8],
        "classes": [[0.8, 0.8]],
    }
    assert notes == ["fold 0: this training is not finished; shown are the validations so far"]
    assert training["drawing"] is None
    write_json(tmp_path / "result.json", {"default": 0.81, "architecture": "unet"})
    presets.get("unet", 3).save(tmp_path / "genotype.json")
    assert read_source(tmp_path).trainings[0]["drawing"].startswith("data:image/svg+xml;base64,")
    assert read_source(tmp_path).trainings[0]["result"] == {"default": 0.81, "architecture": "unet"}
    assert read_source(tmp_path).searches == []
    (tmp_path / "run.yml").write_text("dataset: Organs\nnetwork: {base_channels: 8}\noutput: null\n")
    provenance = read_source(tmp_path).trainings[0]["provenance"]
    assert provenance["dataset"] == "Organs" and provenance["network"] == {"base_channels": 8}
    assert set(provenance) == {"folder", "dataset", "network", "genotype"}
    (tmp_path / "run.yml").write_text("a: [")
    (tmp_path / "genotype.json").write_text('{"levels": 3')
    broken = read_source(tmp_path)
    assert broken.trainings[0]["drawing"] is None
    assert any("run.yml: cannot be read" in note for note in broken.notes)
    assert any("genotype.json: not JSON" in note and "cannot be drawn" in note for note in broken.notes)
    assert all("\n" not in note for note in broken.notes)
    write_report(tmp_path, tmp_path / "report.html")
    (tmp_path / "training.json").write_text('{"history": [{"epoch"')
    assert read_training(tmp_path, "fold 0", notes) is None
    assert "the learning curves cannot be read" in notes[-1]
