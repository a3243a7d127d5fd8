"""The report: what it reads in whatever state, what the page holds, and the derivation in its JavaScript."""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from search_runs import FINAL, made_up_record, made_up_run
from typer.testing import CliRunner

from search_space import presets
from search_space.errors import UserError
from search_space.grid import Grid, live_nodes, widest_path
from strategies.gates import decided_share
from strategies.pruning import RescueWarning, keep_edges
from uxnet_eval import cli
from uxnet_eval.report import find_source, live, write_report
from uxnet_eval.report.geometry import grid_geometry
from uxnet_eval.report.live import LiveReport, ValidationCases, architecture_picture
from uxnet_eval.report.overlay_picture import class_color, cut_planes, paint_planes
from uxnet_eval.report.overlays import Overlay, best_median_worst, read_overlays, write_overlays
from uxnet_eval.report.page import page_data, page_html
from uxnet_eval.report.search_run import read_search, run_data
from uxnet_eval.report.training_run import read_training
from uxnet_eval.search_record import write_json

ASSETS = Path(live.__file__).parent / "assets"


# The derivation in JavaScript ------------------------------------------------------------------------------------


def in_node(script: str, values: Any) -> Any:
    """What a function body in JavaScript, with ``pruning.js`` before it, returns for ``values``; run by NNI's node."""
    import nni_node

    node = Path(nni_node.__path__[0]) / "node"
    source = (ASSETS / "pruning.js").read_text()
    program = (
        f"{source}\nconst input = JSON.parse(require('fs').readFileSync(0));"
        f"\nprocess.stdout.write(JSON.stringify((() => {{{script}}})()));"
    )
    done = subprocess.run(
        [str(node), "-e", program], input=json.dumps(values), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("levels", [2, 3, 4, 5])
def test_javascript_keeps_the_edges_that_python_keeps(levels: int) -> None:
    """300 random states each; coarse gates make ties, high thresholds cut the output off."""
    random, grid = np.random.default_rng(levels), Grid(levels)
    states = []
    for number in range(300):
        gates = random.random(len(grid.edges))
        if number % 3 == 0:
            gates = gates.round(1)
        if number % 7 == 0:
            gates[random.random(len(gates)) < 0.3] = 0.0
        states.append((gates.tolist(), float(random.choice([0.01, 0.3, 0.5, 0.75, 0.9, 0.99]))))
    answers = in_node(
        "return input.states.map(([gates, tau]) => { const s = keepEdges(input.grid, gates, tau);"
        "return [s.kept, s.rescued, s.kept.map((_, e) => edgeRole(s, e)), liveNodes(input.grid, s.kept), decidedShare(gates)]; })",
        {"grid": grid_geometry(levels, 3), "states": states},
    )
    num_rescued = 0
    for (values, tau), (kept, rescued, roles, live_flags, decided) in zip(states, answers, strict=True):
        gates = dict(zip(grid.edges, values, strict=True))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            expected = keep_edges(grid, gates, tau)
        assert [edge for edge, is_kept in zip(grid.edges, kept, strict=True) if is_kept] == sorted(
            expected, key=grid.edges.index
        )
        was_rescued = any(issubclass(each.category, RescueWarning) for each in caught)
        assert [grid.edges[e] for e in rescued] == (list(widest_path(grid, gates)) if was_rescued else [])
        num_rescued += was_rescued
        for edge, role in zip(grid.edges, roles, strict=True):
            opened = gates[edge] >= tau
            assert role == (
                ("kept" if opened else "restored") if edge in expected else ("dead" if opened else "pruned")
            )
        assert [node for node, flag in zip(grid.nodes, live_flags, strict=True) if flag] == sorted(
            live_nodes(expected)
        )
        assert decided == pytest.approx(decided_share(values))
    assert 20 < num_rescued < 280  # both branches were tried


def test_javascript_takes_the_first_of_equal_operations() -> None:
    assert in_node("return input.map(argmax)", [[1, 3, 3], [2, 2], [0]]) == [1, 0, 0]


# What the page is given ------------------------------------------------------------------------------------------


def test_gates_stand_in_the_order_of_the_grid_and_unsearched_edges_are_0_or_1(tmp_path: Path) -> None:
    record = made_up_record()
    for values in (record.gates, *(entry["gates"] for entry in record.history)):
        values.pop("N0.0-N0.2", None)  # not in the space
        values.pop("N0.0-N0.1", None)
    record.gates = dict(reversed(record.history[-1]["gates"].items()))  # the file's order does not count
    record.fixed_edges = ["N0.0-N0.1"]
    record.save(tmp_path)
    data = run_data(read_search(tmp_path, "run"))
    edges = list(map(str, Grid(3).edges))
    last = dict(zip(edges, data["gates"][-1], strict=True))
    assert last["N0.0-N0.1"] == 1 and last["N0.0-N0.2"] == 0
    assert all(last[name] == gate for name, gate in record.gates.items())  # to the last digit
    assert data["searchedEdges"] == [name for name in edges if name not in ("N0.0-N0.1", "N0.0-N0.2")]
    assert data["epochs"] == [1, 2, 3, 4]  # as the search's own messages count
    assert data["curves"]["loss_weights"] == [1, 1 / 2, 1 / 3, 1 / 4]


def test_fixed_operations_have_no_weights(tmp_path: Path) -> None:
    record = made_up_record()
    for entry in record.history:
        del entry["alphas"]["N0.0/normal"]
    del record.alphas["N0.0/normal"]
    record.fixed_operations = {"N0.0/normal": "2xconv3"}
    record.save(tmp_path)
    layers = run_data(read_search(tmp_path, "run"))["layers"]
    assert layers["N0.0/normal"] == {"operations": ["2xconv3"], "weights": None}
    assert len(layers["N1.0/normal"]["weights"]) == 4


def test_many_long_searches_stay_a_few_megabytes(tmp_path: Path) -> None:
    for seed in range(4):
        made_up_run(tmp_path / f"seed-{seed}", levels=5, num_epochs=120, seed=seed)
    page = write_report(tmp_path, tmp_path / "report.html")
    assert page.stat().st_size < 4e6
    data = page_data(find_source(tmp_path))
    assert [len(run["epochs"]) for run in data["runs"]] == [60] * 4
    assert all(run["epochs"][0] == 1 and run["epochs"][-1] == 120 for run in data["runs"])
    assert all(len(run["curves"]["default"]) == 120 for run in data["runs"])


def test_the_report_of_a_trial_is_written_within_a_second(tmp_path: Path) -> None:
    made_up_run(tmp_path, levels=5, num_epochs=40)
    write_report(tmp_path, tmp_path / "report.html")  # imports and the layout are done once
    start = time.process_time()
    write_report(tmp_path, tmp_path / "report.html")
    assert time.process_time() - start < 1


def test_the_page_names_no_address_and_no_text_of_the_data_is_markup(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><b>"
    made_up_run(tmp_path / "run", provenance={"dataset": evil, "note": "\u2028"})
    page = page_html(find_source(tmp_path / "run"))
    assert page.count("</script>") == 2  # the data and the scripts
    assert evil not in page
    embedded = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert embedded is not None
    assert json.loads(embedded[1])["runs"][0]["provenance"]["dataset"] == evil
    addresses = set(re.findall(r"https?://[^\s\"'`]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address that is asked
    assert "default-src 'none'" in page


def test_geometry_is_that_of_the_drawing() -> None:
    for levels in (2, 3, 4, 5):
        geometry = grid_geometry(levels, 3)
        for x, y, width, height in geometry["cards"]:
            assert x > 0 and x + width < geometry["width"]
            assert y > 0 and y + height < geometry["height"]
        for source, target, curve in zip(
            geometry["sources"], geometry["targets"], geometry["curves"], strict=True
        ):
            for node, (x, y) in (
                (source, curve[0]),
                (target, curve[3]),
            ):  # an edge ends on the cards' borders
                left, top, width, height = geometry["cards"][node]
                assert left - 0.1 <= x <= left + width + 0.1 and top - 0.1 <= y <= top + height + 0.1
                assert min(abs(x - left), abs(x - left - width), abs(y - top), abs(y - top - height)) < 0.1


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
    assert "trial 1 (bbbbb): FAILED without a final result; shown is what it wrote before" in notes
    assert "trial 2 (ccccc): USER_CANCELED, its output folder" in notes


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


# Pictures --------------------------------------------------------------------------------------------------------


def test_planes_go_through_the_largest_sections_with_the_right_on_the_left() -> None:
    reference = np.zeros((4, 5, 6), dtype=int)
    reference[1, 2, 3:5] = 1  # RAS: right-left, back-front, foot-head
    reference[2, 2, 3] = 1
    image = np.arange(reference.size, dtype=float).reshape(reference.shape)
    axial, coronal, sagittal = cut_planes(image, reference, np.zeros_like(reference), (1.0, 2.0, 3.0))
    # The axial plane is z = 3, which two voxels lie in: x = 1 and 2, counted from the left side of the body; in the
    # picture x runs to the left and y up, so they are columns 2 and 1 of 4, row 2 of 5.
    assert np.argwhere(axial.reference).tolist() == [[2, 1], [2, 2]]
    assert axial.pixel_mm == (2.0, 1.0)
    # Coronal: y = 2. Rows are z from the top (6): z = 4 is row 1, z = 3 is row 2.
    assert np.argwhere(coronal.reference).tolist() == [[1, 2], [2, 1], [2, 2]]
    assert coronal.pixel_mm == (3.0, 1.0)
    # Sagittal: x = 1. Columns are y from the front (5): y = 2 is column 2.
    assert np.argwhere(sagittal.reference).tolist() == [[1, 2], [2, 2]]
    assert sagittal.pixel_mm == (3.0, 2.0)


def test_prediction_is_filled_and_reference_outlined() -> None:
    image, reference, prediction = (np.zeros((52, 52)) for _ in range(3))
    reference[10:30, 10:30] = 2
    prediction[35:45, 35:45] = 1
    picture = paint_planes(cut_planes(image, reference, prediction, (1.0, 1.0)))
    assert picture.shape == (260, 260, 3) and picture.dtype == np.uint8  # 5 pixels a voxel
    assert picture[200, 200] == pytest.approx(0.45 * 255 * class_color(1), abs=1)  # inside the prediction
    assert picture[50, 100] == pytest.approx(255 * class_color(2), abs=1)  # upper side of the outline
    assert picture[100, 100].tolist() == [0, 0, 0]  # inside the reference, not predicted
    assert picture[5, 5].tolist() == [0, 0, 0]


def test_thick_voxels_keep_their_proportions() -> None:
    volume = np.zeros((20, 10, 5))
    picture = paint_planes(cut_planes(volume, volume, volume, (1.0, 1.0, 4.0)))
    # Axial 10 x 20 mm, coronal 20 x 20, sagittal 20 x 10; the longer side takes 260 pixels; gaps of 6.
    assert picture.shape == (260, 260 + 6 + 260 + 6 + 130, 3)


def test_best_median_and_worst_case() -> None:
    assert best_median_worst([0.5, None, 0.9, 0.1, 0.6]) == {"best": 2, "median": 0, "worst": 3}
    assert best_median_worst([0.5, 0.6]) == {"best": 1, "worst": 0}
    assert best_median_worst([None, 0.3]) == {"best": 1}
    assert best_median_worst([None]) == {}


def test_overlays_come_back_as_pictures_and_a_truncated_one_is_noted(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    write_overlays(tmp_path, [Overlay("case_1", "best", 0.9, picture)], ["background", "organ"], "epoch 3")
    notes: list[str] = []
    found = read_overlays(tmp_path, notes)
    assert found is not None and notes == []
    assert found["classes"] == [{"name": "organ", "color": "#e69f00"}]
    assert found["cases"][0]["url"].startswith("data:image/png;base64,")
    file = tmp_path / "overlays" / "best.png"
    file.write_bytes(file.read_bytes()[:-200])
    assert read_overlays(tmp_path, notes) is None
    assert len(notes) == 1 and "the overlays cannot be shown" in notes[0]
    assert read_overlays(tmp_path / "absent", notes) is None and len(notes) == 1


def test_validation_cases_keep_a_film_of_fixed_cases_and_the_extremes(tmp_path: Path) -> None:
    cases = ValidationCases((1.0, 1.0))
    for number, dice in enumerate([0.2, 0.9, 0.5, float("nan"), 0.7]):
        label = torch.zeros(1, 1, 8, 8, dtype=torch.int64)
        cases.add(f"case_{number}", torch.rand(1, 2, 8, 8), label, label, torch.tensor(dice))
    assert list(cases.film()) == ["case_0", "case_1", "case_2"]
    cases.save(tmp_path, ["background", "organ"], "epoch 1")
    found = read_overlays(tmp_path, [])
    assert found is not None
    assert [(each["rank"], each["caseId"]) for each in found["cases"]] == [
        ("best", "case_1"),
        ("median", "case_2"),
        ("worst", "case_0"),
    ]


def test_a_stored_case_looks_the_same_in_any_orientation() -> None:
    """The same anatomy stored as RAS and as LPS with its axes swapped, voxels of 1 x 2 x 3 mm."""
    random = np.random.default_rng(0)
    image, label = random.random((1, 4, 5, 6)), random.integers(0, 3, (4, 5, 6))
    upright, turned = ValidationCases(), ValidationCases()
    upright.add_stored("a", image, label, label, np.diag([1.0, 2.0, 3.0, 1.0]))
    swapped = np.array([[0, -1.0, 0, 3], [-2.0, 0, 0, 8], [0, 0, 3.0, 0], [0, 0, 0, 1]])
    turned.add_stored(
        "a",
        image.transpose(0, 2, 1, 3)[:, ::-1, ::-1],
        label.transpose(1, 0, 2)[::-1, ::-1],
        label.transpose(1, 0, 2)[::-1, ::-1],
        swapped,
    )
    assert np.array_equal(upright.film()["a"], turned.film()["a"])
    upright.rank({"a": 0.5})


def test_the_drawing_of_a_search_with_fixed_edges_and_operations() -> None:
    record = made_up_record()
    record.gates = {name: 0.1 for name in list(record.gates)[2:]}
    record.fixed_edges = list(map(str, Grid(3).edges[:1]))
    picture = architecture_picture(record)
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8


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
    (tmp_path / "training.json").write_text('{"history": [{"epoch"')
    assert read_training(tmp_path, "fold 0", notes) is None
    assert "the learning curves cannot be read" in notes[-1]
