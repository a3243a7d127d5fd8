"""The report of an NNI experiment, running, ended or damaged, and what a trial writes of it."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from pathlib import Path

import pytest
from search_runs import FINAL, made_up_run
from typer.testing import CliRunner

from search_space.errors import UserError
from uxnet_eval import cli
from uxnet_eval.nni_experiments import launch as launching
from uxnet_eval.nni_experiments.launch import Launched
from uxnet_eval.report import live, read_source
from uxnet_eval.report.live import LiveReport
from uxnet_eval.report.page import page_data
from uxnet_eval.report.sources import last_words


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
            "create table TrialJobEvent (timestamp integer, trialJobId text, event text, data text, sequenceId integer, message text, environmentId text)"
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
                "insert into TrialJobEvent values (0, ?, 'WAITING', ?, ?, null, null)", [trial, data, number]
            )
            database.execute(
                "insert into TrialJobEvent values (0, ?, ?, null, null, null, null)", [trial, status]
            )
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
    source = read_source(experiment)
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
    damaged = read_source(experiment).searches[1].notes
    assert len(damaged) == 2 and "search.json: not JSON" in damaged[0]
    assert "FAILED without a final result (OutOfMemoryError: no room)" in damaged[1]
    (folder / "search.json").unlink()
    (folder / "trial.stderr").write_text("")
    early = read_source(experiment).searches[1].notes
    assert early == ["trial 1 (bbbbb): FAILED before its first validation; nothing can be drawn"]


def test_trials_are_shown_though_the_database_of_their_experiment_is_damaged(experiment: Path) -> None:
    database = experiment / "db" / "nni.sqlite"
    database.write_bytes(database.read_bytes()[:1000])
    source = read_source(experiment)
    assert [run.name for run in source.searches] == ["aaaaa", "bbbbb"]
    assert "database cannot be read" in source.notes[0] and "\n" not in source.notes[0]
    assert source.title == "Experiment AbCd1234"
    for trial in ("aaaaa", "bbbbb"):
        (experiment / "environments" / "local-env" / "trials" / trial / "search.json").unlink()
    with pytest.raises(UserError, match="database cannot be read"):
        read_source(experiment)


def test_the_last_words_of_a_log_are_one_short_line(tmp_path: Path) -> None:
    log = tmp_path / "trial.stderr"
    assert last_words(log) == ""
    log.write_bytes(b"x" * 9000 + b"\n  a\xff \t b  \n \n")
    assert last_words(log) == "a\ufffd b"
    log.write_text("y" * 300)
    assert last_words(log) == "y" * 199 + "…"


def test_a_moved_experiment_is_read_from_its_folder_alone(experiment: Path, tmp_path: Path) -> None:
    moved = experiment.rename(tmp_path / "kept")
    assert len(read_source(moved).searches) == 2


def test_a_trial_writes_its_report_to_where_nni_serves_it(
    experiment: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NNI_TRIAL_COMMAND_CHANNEL", "http://uxnet:key@localhost:9000/env/local-env/aaaaa")
    folder = experiment / "environments" / "local-env" / "trials" / "aaaaa"
    report = LiveReport(folder)
    with caplog.at_level(logging.INFO):
        report.update()
    assert "http://127.0.0.1:9000/logs/report-aaaaa.html" in caplog.text
    assert "http://127.0.0.1:9000/logs/report.html" in caplog.text
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


@pytest.mark.parametrize("written", [False, True])
def test_launch_prints_the_address_of_the_report(
    written: bool, experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Launched("AbCd1234", "http://127.0.0.1:9000", 9000, experiment)
    monkeypatch.setattr(launching, "launch", lambda *_, **__: started)
    if written:
        (experiment / "log" / "report.html").touch()
    waited, at_once = (
        CliRunner().invoke(cli.app, ["launch", "toy.yml", *more], catch_exceptions=False).output
        for more in (["--wait"], [])
    )
    line = "report:     http://127.0.0.1:9000/logs/report.html"
    assert (line in waited) == written  # an experiment without a validation never writes one
    assert line in at_once and ("from the first validation on" in at_once) != written
