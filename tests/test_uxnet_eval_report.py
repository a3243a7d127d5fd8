"""The report: what it reads, in whatever state; experiments; trainings and scores."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from pathlib import Path

import pytest
from search_runs import FINAL, made_up_record, made_up_run
from typer.testing import CliRunner

from search_space import presets
from search_space.errors import UserError
from uxnet_eval import cli
from uxnet_eval.report import find_source, live, write_report
from uxnet_eval.report.live import LiveReport
from uxnet_eval.report.page import page_data
from uxnet_eval.report.search_run import read_search, run_data
from uxnet_eval.report.sources import last_words
from uxnet_eval.report.training_run import read_training
from uxnet_eval.search_record import write_json

# Bad input -------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_run_is_an_error_that_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is empty; expected search\.json"):
        find_source(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"holds no run \(1 other files or folders, such as notes\.txt\)"):
        find_source(tmp_path)
    with pytest.raises(UserError, match=r"no such folder"):
        find_source(tmp_path / "absent")
    with pytest.raises(UserError, match=r"is a file"):
        find_source(tmp_path / "notes.txt")


def test_an_unknown_experiment_is_an_error_that_lists_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"'nonesuch' is not known to NNI.*it knows none"):
        find_source("nonesuch")


BROKEN = {
    "before the first validation": ({"run.yml": "dataset: x\n"}, "no search.json yet: the run began before"),
    "killed before the first validation": (
        {"run.yml": "dataset: x\n", "checkpoint.ckpt": ""},
        "no search.json yet: the run stopped before",
    ),
    "half a record": ({"search.json": '{"format": "uxnet-search", "versi'}, "search.json: not JSON"),
    "older format": (
        {"search.json": '{"format": "uxnet-search", "version": 0}'},
        "record version 0, this program reads 1",
    ),
    "another file": ({"search.json": "[1, 2]"}, "not the record of a search"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_half_a_run_gives_a_page_that_says_what_is_missing(case: str, tmp_path: Path) -> None:
    files, message = BROKEN[case]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    source = find_source(tmp_path)
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


# Experiments -----------------------------------------------------------------------------------------------------


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment's folder as NNI leaves it: one trial done, one failed half-way, one that left nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "nni" / "AbCd1234"
    (folder / "db").mkdir(parents=True)
    (folder / "log").mkdir()
    with sqlite3.connect(folder / "db" / "nni.sqlite") as database:
        database.execute("create table ExperimentProfile (params text, id text, revision integer)")
        database.execute(
            "create table TrialJobEvent (timestamp integer, trialJobId text, event text, data text, sequenceId integer)"
        )
        database.execute(
            "create table MetricData (trialJobId text, parameterId text, type text, sequence integer, data text)"
        )
        database.execute(
            "insert into ExperimentProfile values (?, 'AbCd1234', 0)", [json.dumps({"experimentName": "toy"})]
        )
        for number, (trial, status) in enumerate(
            [("aaaaa", "SUCCEEDED"), ("bbbbb", "FAILED"), ("ccccc", "USER_CANCELED")]
        ):
            data = json.dumps({"parameter_id": number, "parameters": {"seed": number}})
            database.execute(
                "insert into TrialJobEvent values (0, ?, 'WAITING', ?, ?)", [trial, data, number]
            )
            database.execute("insert into TrialJobEvent values (0, ?, ?, null, null)", [trial, status])
        database.execute(
            "insert into MetricData values ('aaaaa', '0', 'FINAL', 0, ?)", [json.dumps(json.dumps(FINAL))]
        )
    database.close()
    trials = folder / "environments" / "local-env" / "trials"
    made_up_run(trials / "aaaaa", seed=1)
    made_up_run(trials / "bbbbb", seed=2, finished=False)
    (trials / "bbbbb" / "trial.stderr").write_text("warming up\nOutOfMemoryError: no room\n\n")
    return folder


def test_every_trial_is_shown_with_its_parameters_and_what_is_missing(experiment: Path) -> None:
    source = find_source(experiment)
    data = page_data(source)
    assert source.title == "toy AbCd1234"
    assert [(run["name"], run["status"], run["parameters"]) for run in data["runs"]] == [
        ("trial 0 (aaaaa)", "SUCCEEDED", {"seed": 0}),
        ("trial 1 (bbbbb)", "FAILED", {"seed": 1}),
    ]
    assert data["runs"][0]["final"] == FINAL and data["runs"][1]["final"] == {}
    notes = "\n".join(source.all_notes)
    assert source.searches[1].notes == [
        "trial 1 (bbbbb): FAILED without a final result (OutOfMemoryError: no room); "
        "shown is its newest validation"
    ]
    assert "trial 2 (ccccc): USER_CANCELED, its output folder" in notes


def test_a_trial_that_died_early_or_in_mid_write_has_a_line_that_says_so(experiment: Path) -> None:
    folder = experiment / "environments" / "local-env" / "trials" / "bbbbb"
    (folder / "search.json").write_text('{"format": "uxnet-search", "versi')
    damaged = find_source(experiment).searches[1].notes
    assert len(damaged) == 2 and "search.json: not JSON" in damaged[0]
    assert "FAILED without a final result (OutOfMemoryError: no room)" in damaged[1]
    (folder / "search.json").unlink()
    (folder / "trial.stderr").write_text("")
    early = find_source(experiment).searches[1].notes
    assert early == ["trial 1 (bbbbb): FAILED before its first validation; nothing can be drawn"]


def test_trials_are_shown_though_the_database_of_their_experiment_is_damaged(experiment: Path) -> None:
    database = experiment / "db" / "nni.sqlite"
    database.write_bytes(database.read_bytes()[:1000])
    source = find_source(experiment)
    assert [run.name for run in source.searches] == ["aaaaa", "bbbbb"]
    assert "database cannot be read" in source.notes[0] and "\n" not in source.notes[0]
    assert source.title == "Experiment AbCd1234"
    for trial in ("aaaaa", "bbbbb"):
        (experiment / "environments" / "local-env" / "trials" / trial / "search.json").unlink()
    with pytest.raises(UserError, match="database cannot be read"):
        find_source(experiment)


def test_the_last_words_of_a_log_are_one_short_line(tmp_path: Path) -> None:
    log = tmp_path / "trial.stderr"
    assert last_words(log) == ""
    log.write_bytes(b"x" * 9000 + b"\n  a\xff \t b  \n \n")
    assert last_words(log) == "a\ufffd b"
    log.write_text("y" * 300)
    assert last_words(log) == "y" * 199 + "…"


def test_a_moved_experiment_is_read_from_its_folder_alone(experiment: Path, tmp_path: Path) -> None:
    moved = experiment.rename(tmp_path / "kept")
    assert len(find_source(moved).searches) == 2


def test_a_trial_writes_its_report_to_where_nni_serves_it(
    experiment: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NNI_TRIAL_COMMAND_CHANNEL", "http://localhost:9000/env/local-env/aaaaa")
    folder = experiment / "environments" / "local-env" / "trials" / "aaaaa"
    report = LiveReport(folder)
    with caplog.at_level(logging.INFO):
        report.update()
    assert "http://localhost:9000/logs/report-aaaaa.html" in caplog.text
    assert "http://localhost:9000/logs/report.html" in caplog.text
    own, everything = experiment / "log" / "report-aaaaa.html", experiment / "log" / "report.html"
    assert own.read_bytes() == (folder / "report.html").read_bytes()
    assert "trial 1 (bbbbb)" in everything.read_text() and "trial 1 (bbbbb)" not in own.read_text()
    before = everything.stat().st_mtime_ns
    caplog.clear()
    with caplog.at_level(logging.INFO):
        report.update()
    assert everything.stat().st_mtime_ns == before  # not due yet
    assert own.stat().st_mtime_ns > before
    assert caplog.text == ""  # said once
    report.update(last=True)
    assert everything.stat().st_mtime_ns > before
    assert not [name for name in os.listdir(experiment / "log") if name.endswith(".part")]


def test_a_report_that_fails_is_logged_and_does_not_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made_up_run(tmp_path)

    def fail(source: object) -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(live, "page_html", fail)
    LiveReport(tmp_path).update()
    assert "the report could not be written; the search goes on" in caplog.text
    assert "RuntimeError: broken" in caplog.text


# Scores and trainings --------------------------------------------------------------------------------------------

CASES = """case_id,class,dice,hd95_mm,nsd,reference_volume_mm3,predicted_volume_mm3
001,organ,0.9,1.5,0.95,100,110
002,organ,,,,0,0
"""


def test_scores_are_shown_without_a_summary_too(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text(CASES)
    (scores,) = find_source(tmp_path).scores
    assert scores["caseIds"] == ["001", "002"] and scores["columns"]["dice"] == [0.9, None]
    assert any("summary.json: missing" in note for note in find_source(tmp_path).all_notes)
    (tmp_path / "summary.json").write_text('{"classes": {"organ": {"dice": {"mean": NaN}}}}')
    (scores,) = find_source(tmp_path).scores
    assert scores["summary"]["classes"]["organ"]["dice"]["mean"] is None
    (tmp_path / "summary.json").write_text(
        '{"mean_dice": "x", "classes": {"organ": {"dice": {"mean": 0.5, "sd": [1], "interval_95": [0.4]}, "nsd": 3}, "b": 0}}'
    )
    (scores,) = find_source(tmp_path).scores
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
    source = find_source(tmp_path)
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
    assert find_source(tmp_path).trainings[0]["drawing"].startswith("data:image/svg+xml;base64,")
    assert find_source(tmp_path).trainings[0]["result"] == {"default": 0.81, "architecture": "unet"}
    assert find_source(tmp_path).searches == []
    (tmp_path / "run.yml").write_text("dataset: Organs\nnetwork: {base_channels: 8}\noutput: null\n")
    provenance = find_source(tmp_path).trainings[0]["provenance"]
    assert provenance["dataset"] == "Organs" and provenance["network"] == {"base_channels": 8}
    assert set(provenance) == {"folder", "dataset", "network", "genotype"}
    (tmp_path / "run.yml").write_text("a: [")
    (tmp_path / "genotype.json").write_text('{"levels": 3')
    broken = find_source(tmp_path)
    assert broken.trainings[0]["drawing"] is None
    assert any("run.yml: cannot be read" in note for note in broken.notes)
    assert any("genotype.json: not JSON" in note and "cannot be drawn" in note for note in broken.notes)
    assert all("\n" not in note for note in broken.notes)
    write_report(tmp_path, tmp_path / "report.html")
    (tmp_path / "training.json").write_text('{"history": [{"epoch"')
    assert read_training(tmp_path, "fold 0", notes) is None
    assert "the learning curves cannot be read" in notes[-1]
