"""Export from folders written by hand: which trial, which edges, which errors."""

from __future__ import annotations

import copy
import json
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from search_space.errors import UserError
from search_space.genotype import Genotype
from uxnet_eval.nni_experiments.records import find_experiment
from uxnet_eval.search.export import export_genotype

# A search on the grid of 3 levels: N0.0 N0.1 N0.2 (encoder), N1.0 N1.1, N2.0 (output).
GATES = {
    "N0.0-N0.1": 0.95,
    "N0.0-N0.2": 0.30,
    "N0.1-N0.2": 0.65,
    "N0.0-N1.0": 0.90,
    "N0.1-N1.0": 0.75,  # exactly the threshold: kept
    "N0.2-N1.0": 0.70,
    "N0.0-N1.1": 0.10,
    "N0.1-N1.1": 0.10,
    "N0.2-N1.1": 0.85,
    "N1.0-N2.0": 0.99,
    "N1.1-N2.0": 0.62,
}
LAYERS = ["N0.0/normal", "N0.1/reduction", "N0.1/normal", "N0.2/reduction", "N0.2/normal", "N1.0/expansion"]
LAYERS += ["N1.0/normal", "N1.1/expansion", "N1.1/normal", "N2.0/expansion", "N2.0/normal"]
# At 0.75 N0.2 has lost its input and N1.1 its output, so N0.2-N1.1 (0.85) leads from nowhere to nowhere: rule (b).
EDGES_AT_075 = ["N0.0-N0.1", "N0.0-N1.0", "N0.1-N1.0", "N1.0-N2.0"]
# At 0.6 the others come back, but for the gates of 0.30 and 0.10.
EDGES_AT_060 = [name for name, gate in GATES.items() if gate > 0.5]


def _operations() -> dict[str, list[str]]:
    """Names of candidates by kind of layer, in the order of the search space."""
    from search_space.config import SearchSpaceConfig

    config = SearchSpaceConfig(levels=3)
    return {kind: list(config.candidates(kind)) for kind in ("normal", "reduction", "expansion")}


def _search() -> dict[str, Any]:
    candidates = _operations()
    alphas = {}
    for layer in LAYERS:
        names = candidates[layer.split("/")[1]]
        alphas[layer] = {name: 0.1 for name in names} | {names[1]: 0.3}  # the second one wins everywhere
    return {
        "format": "uxnet-search",
        "version": 1,
        "levels": 3,
        "spatial_dims": 3,
        "gates": GATES,
        "alphas": alphas,
        "fixed_operations": {},
        "fixed_edges": [],
        "prune_threshold": 0.75,
        "scores": {"default": 0.8, "derived_dice": 0.7},
        "provenance": {"dataset": "Task00_Toy", "seed": 3},
        "history": [],
    }


def _write_search(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "search.json").write_text(json.dumps({**_search(), **changes}))
    return folder


def _edges(genotype: Genotype) -> list[str]:
    return [str(edge) for edge in genotype.edges]


# From the output folder of a search ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "edges"), [(None, EDGES_AT_075), (0.75, EDGES_AT_075), (0.6, EDGES_AT_060)]
)
def test_one_search_gives_a_genotype_for_every_threshold(
    threshold: float | None, edges: list[str], tmp_path: Path
) -> None:
    genotype, trial = export_genotype(str(_write_search(tmp_path)), prune_threshold=threshold)
    assert trial is None
    assert sorted(_edges(genotype)) == sorted(edges)
    candidates = _operations()
    assert {str(layer): name for layer, name in genotype.operations.items()} == {
        str(layer): candidates[layer.kind][1] for layer in genotype.layers
    }
    assert genotype.provenance["prune_threshold"] == (threshold or 0.75)
    assert genotype.provenance["dataset"] == "Task00_Toy" and genotype.provenance["seed"] == 3
    assert genotype.provenance["gates"] == GATES
    file = tmp_path / "genotype.json"  # what it holds can be written and read again
    genotype.save(file)
    assert Genotype.load(file) == genotype


def test_what_was_not_searched_stays_as_it_was(tmp_path: Path) -> None:
    """The ablation with the U-Net's edges: no gates, fixed edges, and an operation that was fixed."""
    unet = ["N0.0-N0.1", "N0.1-N0.2", "N0.1-N1.1", "N0.2-N1.1", "N1.1-N2.0", "N1.0-N2.0", "N0.0-N1.0"]
    search = _search()
    alphas = copy.deepcopy(search["alphas"])
    del alphas["N0.0/normal"]
    first = _operations()["normal"][0]
    _write_search(
        tmp_path, gates={}, fixed_edges=unet, alphas=alphas, fixed_operations={"N0.0/normal": first}
    )
    genotype, _ = export_genotype(tmp_path)
    assert sorted(_edges(genotype)) == sorted(unet)
    assert {str(layer): name for layer, name in genotype.operations.items()}["N0.0/normal"] == first


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"version": 2}, "version 2, this program reads 1"),
        ({"format": "uxnet-genotype"}, "not the record of a search"),
        ({"gates": {**GATES, "N0.0-N3.0": 0.5}}, "N0.0-N3.0 is not an edge of a grid with 3 levels"),
        ({"gates": {**GATES, "N0.0-N0.1": 1.5}}, "gate of N0.0-N0.1 is 1.5"),
        (
            {"gates": {**GATES, "N0.0-N0.1": float("nan")}},
            "gates.N0.0-N0.1: Input should be a finite number, found nan",
        ),
        (
            {
                "alphas": {"N0.0/normal": {"conv3": float("nan")}},
                "fixed_operations": dict.fromkeys(LAYERS, "conv3"),
            },
            "alphas.N0.0/normal.conv3: Input should be a finite number, found nan",
        ),
        ({"alphas": {}}, "layer N0.0/normal has neither alphas nor a fixed operation"),
        ({"fixed_operations": {"N9.0/normal": "x"}}, "N9.0/normal is not a layer"),
        ({"gates": ["N0.0-N0.1"]}, "search.json: "),
        ({"levels": None}, "search.json: "),
    ],
)
def test_a_record_that_does_not_hold_a_search(changes: Mapping[str, Any], fault: str, tmp_path: Path) -> None:
    _write_search(tmp_path, **changes)
    with pytest.raises(UserError, match=re.escape(fault)) as caught:
        export_genotype(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "search.json")) and "\n" not in str(caught.value)


def test_a_record_half_written_or_with_a_key_less(tmp_path: Path) -> None:
    file = _write_search(tmp_path) / "search.json"
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"search\.json: not JSON"):
        export_genotype(tmp_path)
    file.write_text(json.dumps({key: value for key, value in _search().items() if key != "gates"}))
    with pytest.raises(UserError, match=r"search\.json: .* incomplete .*'gates'"):
        export_genotype(tmp_path)


def test_thresholds_and_sources_that_cannot_be(tmp_path: Path) -> None:
    _write_search(tmp_path / "run")
    for threshold in (0.0, 1.0, -1.0):
        with pytest.raises(UserError, match="expected a number between 0 and 1"):
            export_genotype(tmp_path / "run", prune_threshold=threshold)
    with pytest.raises(UserError, match="leave the trial's id out"):
        export_genotype(tmp_path / "run", trial="abcde")
    with pytest.raises(UserError, match=r"holds neither search\.json .* nor db/nni\.sqlite"):
        export_genotype(tmp_path)


# From an experiment --------------------------------------------------------------------------------------------

NNI_TABLES = """
create table TrialJobEvent (timestamp integer, trialJobId text, event text, data text, logPath text,
    sequenceId integer, message text, environmentId text);
create table MetricData (timestamp integer, trialJobId text, parameterId text, type text, sequence integer, data text);
create table ExperimentProfile (params text, id text, execDuration integer, startTime integer, endTime integer,
    logDir text, nextSequenceId integer, revision integer);
"""


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an experiment as NNI leaves it: trials of seeds 0 to 3, the last without a final result."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "experiments" / "toyexp01"
    (folder / "db").mkdir(parents=True)
    index = tmp_path / "home" / "nni-experiments" / ".experiment"
    index.parent.mkdir(parents=True)
    entry = {"port": 18199, "startTime": 2, "status": "DONE", "logDir": str(folder.parent), "pid": 999999999}
    index.write_text(json.dumps({"toyexp01": entry, "older002": {**entry, "startTime": 1}}))
    results = {
        "tAAAA": {"default": 0.80, "derived_dice": 0.75},
        "tBBBB": {"default": 0.85, "derived_dice": 0.60},
        "tCCCC": {"default": 0.85, "derived_dice": 0.60},  # as good as the one before: the first one wins
        "tDDDD": None,
    }
    database = sqlite3.connect(folder / "db" / "nni.sqlite")
    database.executescript(NNI_TABLES)
    for revision, trials in enumerate((2, 4)):
        database.execute(
            "insert into ExperimentProfile values (?, 'toyexp01', 0, 0, 0, '', 0, ?)",
            [json.dumps({"maxTrialNumber": trials}), revision],
        )
    for number, (trial, final) in enumerate(results.items()):
        record = json.dumps({"parameter_id": number, "parameters": {"seed": number}, "parameter_index": 0})
        last = "SUCCEEDED" if final else "USER_CANCELED"
        for event, data in [("WAITING", record), ("RUNNING", None), (last, record)]:
            database.execute(
                "insert into TrialJobEvent values (0, ?, ?, ?, null, ?, null, 'local-env')",
                [trial, event, data, number],
            )
        points = [("PERIODICAL", {"default": 0.99})] + ([("FINAL", final)] if final else [])
        for kind, metrics in points:
            database.execute(
                "insert into MetricData values (0, ?, ?, ?, 0, ?)",
                [trial, str(number), kind, json.dumps(json.dumps(metrics))],
            )
        _write_search(folder / "environments" / "local-env" / "trials" / trial, provenance={"seed": number})
    database.execute("insert into TrialJobEvent values (0, '', 'IMPORT_DATA', '{}', null, null, null, null)")
    database.commit()
    database.close()
    return folder


def test_records_of_an_experiment_without_its_manager(experiment: Path) -> None:
    record = find_experiment("toyexp01")
    assert (record.folder, record.status, record.pid) == (experiment, "STOPPED", None)
    assert record.config == {"maxTrialNumber": 4}  # the newest revision
    trials = record.trials()
    assert [(t.id, t.sequence, t.status, t.parameters["seed"]) for t in trials] == [
        ("tAAAA", 0, "SUCCEEDED", 0),
        ("tBBBB", 1, "SUCCEEDED", 1),
        ("tCCCC", 2, "SUCCEEDED", 2),
        ("tDDDD", 3, "USER_CANCELED", 3),
    ]
    assert trials[0].final == {"default": 0.80, "derived_dice": 0.75}
    assert trials[3].final is None  # an intermediate result is none
    assert trials[0].output == experiment / "environments" / "local-env" / "trials" / "tAAAA"


@pytest.mark.parametrize(("by", "best", "seed"), [("default", "tBBBB", 1), ("derived_dice", "tAAAA", 0)])
@pytest.mark.parametrize("given_as", ["id", "folder"])
def test_the_best_trial_is_exported(
    by: str, best: str, seed: int, given_as: str, experiment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = "toyexp01" if given_as == "id" else str(experiment)
    genotype, trial = export_genotype(source, by=by, prune_threshold=0.6)
    assert trial is not None and trial.id == best and trial.final is not None
    assert sorted(_edges(genotype)) == sorted(EDGES_AT_060)
    assert genotype.provenance["seed"] == seed
    assert genotype.provenance["experiment_id"] == "toyexp01"
    assert genotype.provenance["trial_id"] == best
    assert genotype.provenance["parameters"] == {"seed": seed}
    assert genotype.provenance["search_score"] == {"key": by, "value": trial.final[by]}
    assert "trial tDDDD (USER_CANCELED) has no final result; skipped" in caplog.text


def test_a_trial_by_name_needs_no_final_result(experiment: Path) -> None:
    genotype, trial = export_genotype("toyexp01", trial="tDDDD")
    assert trial is not None and trial.id == "tDDDD"
    assert genotype.provenance["search_score"] == {"key": "default", "value": None}


def test_results_under_the_parameters_of_another_trial_are_not_trusted(
    experiment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(experiment / "db" / "nni.sqlite") as database:
        database.execute("update MetricData set parameterId = '9' where trialJobId = 'tAAAA'")
    find_experiment("toyexp01").trials()
    find_experiment("toyexp01").trials()
    warned = [record.message for record in caplog.records]
    assert len(warned) == 1  # once, however often it is read
    assert warned[0].startswith(
        "trial tAAAA: NNI recorded parameters {'seed': 0} for it, but it ran those of another"
    )


def test_errors_of_experiments(experiment: Path) -> None:
    with pytest.raises(
        UserError, match=r"'toyexp1' .*did you mean 'toyexp01'.*the newest are toyexp01, older002"
    ):
        export_genotype("toyexp1")
    with pytest.raises(UserError, match=r"older002: not an NNI experiment \(db/nni\.sqlite is missing\)"):
        export_genotype("older002")
    with pytest.raises(UserError, match=r"no trial 'tAAAB' \(did you mean 'tAAAA'\?\)"):
        export_genotype("toyexp01", trial="tAAAB")
    with pytest.raises(UserError, match=r"no final result has 'derived' .*there are default, derived_dice"):
        export_genotype("toyexp01", by="derived")
    with sqlite3.connect(experiment / "db" / "nni.sqlite") as database:
        database.execute("delete from MetricData")
    with pytest.raises(UserError, match=r"none of its 4 trial\(s\) has a final result \(tAAAA SUCCEEDED"):
        export_genotype("toyexp01")
    (experiment / "db" / "nni.sqlite").write_bytes(
        b"not a database, though long enough to look like one" * 10
    )
    with pytest.raises(UserError, match="NNI's database cannot be read"):
        export_genotype("toyexp01")


def test_nnis_list_of_experiments_is_damaged(experiment: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / "nni-experiments" / ".experiment").write_text('{"toyexp01": ')
    with pytest.raises(UserError, match="list of experiments cannot be read"):
        export_genotype("toyexp01")
