"""Machines of ``trainingService: remote``, without any: settings, the probe, the check, lost trials, fetched files."""

from __future__ import annotations

import json
import sqlite3
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_space import UserError
from uxnet_eval.nni_experiments.lost_trials import in_words, let_run_again, lost_trials, tell_tuner
from uxnet_eval.nni_experiments.records import ExperimentRecord, read_experiment
from uxnet_eval.nni_guards import check_experiment_config
from uxnet_eval.nni_guards.experiment_config import read_environments
from uxnet_eval.nni_guards.fetch import fetch
from uxnet_eval.remote import check, probe
from uxnet_eval.remote.machines import Machine, for_manager, listed_machines, load_machines, save_machines


def write_experiment(folder: Path, service: dict[str, Any] | None = None, **machine: Any) -> Path:
    (folder / "key").touch()
    listed = {"host": "gpu1", "user": "me", "sshKeyFile": str(folder / "key"), **machine}
    values = {
        "searchSpace": {"seed": {"_type": "choice", "_value": [1, 2]}},
        "trialCommand": "true",
        "trialConcurrency": 3,
        "tuner": {"name": "GridSearch"},
        "nniManagerIp": "127.0.0.1",
        "trainingService": {"platform": "remote", "machineList": [listed], **(service or {})},
    }
    path = folder / "x.yml"
    path.write_text(yaml.safe_dump(values))
    return path


def machines_in(file: Path) -> list[Machine]:
    return listed_machines(check_experiment_config(file), read_environments(file), str(file))


def test_a_machine_has_an_environment_of_its_own_and_ssh_asks_nothing(tmp_path: Path) -> None:
    file = write_experiment(
        tmp_path, port=2022, pythonPath="/opt/env/bin/", environment={"UXNET_DATA": "/data"}
    )
    (machine,) = machines_in(file)
    assert machine == Machine(
        "gpu1", 2022, "me", str(tmp_path / "key"), "/opt/env/bin/python3", {"UXNET_DATA": "/data"}
    )
    command = machine.ssh()
    assert command[0] == "ssh" and "-oBatchMode=yes" in command and "-oForwardAgent=no" in command
    assert command[-4:] == ["-p", "2022", "-l", "me"] and str(tmp_path / "key") in command
    told = for_manager([machine, machine], concurrency=3)
    assert told["perMachine"] == 2 and told["machines"][0]["environment"] == {"UXNET_DATA": "/data"}
    save_machines([machine], tmp_path)
    assert load_machines(tmp_path) == [machine]


@pytest.mark.parametrize(
    ("service", "machine", "message"),
    [
        ({"reuseMode": True}, {}, r"reuseMode opens another port"),
        ({"trialGpuNumber": 1}, {}, r"trialGpuNumber hangs NNI.*leave it out"),
        ({}, {"password": "secret"}, r"machine gpu1 has a password in the file.*use a key"),
        ({}, {"environment": {"UXNET_DATA": 3}}, r"environment of machine gpu1 must be names with texts"),
        ({}, {"environment": ["UXNET_DATA=/data"]}, r"environment of machine gpu1 must be names with texts"),
    ],
)
@pytest.mark.filterwarnings("ignore:SSH password will be exposed")
def test_settings_that_are_refused(
    tmp_path: Path, service: dict[str, Any], machine: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        machines_in(write_experiment(tmp_path, service, **machine))
    assert "\n" not in str(error.value)


def test_the_probe_of_this_machine(tmp_path: Path) -> None:
    data = tmp_path / "Task01"
    (data / "imagesTr").mkdir(parents=True)
    (data / "imagesTr" / "a.nii.gz").write_bytes(b"abc")
    request = {"dataset": "Task01", "environment": {"UXNET_DATA": str(tmp_path)}}
    first = probe.probe(request)
    assert first["python"] == "{}.{}".format(*sys.version_info[:2])
    assert first["versions"]["nni"] == "3.0" and len(first["source"]) == 64
    assert first["data"]["files"] == 1
    assert json.loads(json.dumps(first)) == first
    (data / "imagesTr" / "a.nii.gz").write_bytes(b"abcd")
    second = probe.probe(request)
    assert second["data"]["checksum"] != first["data"]["checksum"]
    missing = probe.probe({**request, "dataset": "Task02"})
    assert missing["data"] == {"missing": f"{tmp_path}/Task02 is no folder"}


def test_what_must_change_on_a_machine_is_said() -> None:
    wanted = {
        "python": "3.11",
        "versions": {"torch": "2.13.0+cpu", "monai": "1.6.0"},
        "source": "a",
        "data": {"files": 520, "checksum": "c"},
    }
    fits = {**wanted, "executable": "/py", "can_write": True}
    fits["versions"] = {"torch": "2.13.0+cu130", "monai": "1.6.0"}  # another build of the same
    assert check._differences(fits, wanted) == []
    other = {
        **fits,
        "python": "3.9",
        "versions": {"torch": "2.9.0", "monai": None},
        "can_write": False,
        "data": {"files": 260, "checksum": "d"},
    }
    found = check._differences(other, wanted)
    assert [line.split(";")[0] for line in found] == [
        "/py is Python 3.9, here it is 3.11",
        "/py has monai missing, torch 2.9.0 (here 2.13.0+cpu)",
        "its home folder cannot be written",
        "its data set differs (260 files, elsewhere 520, or other sizes)",
    ]
    assert check._differences({**fits, "source": "b"}, wanted) == [
        "its uxnet-search has other files than the one here; install the same there"
    ]


def test_a_code_folder_that_nni_would_not_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MAX_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}.py").touch()
    with pytest.raises(UserError, match=r"has more than 3 files.*\.nniignore"):
        check.check_code_folder(tmp_path, "x.yml")
    (tmp_path / ".nniignore").write_text("3.py\n")
    check.check_code_folder(tmp_path, "x.yml")


PACKED = json.dumps({"parameter_id": 0, "parameters": {"seed": 1}, "parameter_index": 0})


def write_database(folder: Path, events: list[tuple[str, str, str | None, str | None]]) -> ExperimentRecord:
    """A stopped experiment with NNI's database, as far as it is read; an event is (trial, kind, data, message)."""
    (folder / "db").mkdir(parents=True)
    with sqlite3.connect(folder / "db" / "nni.sqlite") as database:
        database.executescript(
            "create table TrialJobEvent (timestamp integer, trialJobId text, event text, data text, logPath text,"
            " sequenceId integer, message text, environmentId text);"
            "create table MetricData (timestamp integer, trialJobId text, parameterId text, type text,"
            " sequence integer, data text);"
            "create table ExperimentProfile (params text, id text, revision integer);"
        )
        database.executemany(
            "insert into TrialJobEvent values (0, ?, ?, ?, null, 0, ?, 'remote-worker2')", events
        )
    database.close()
    return read_experiment(folder)


@pytest.mark.parametrize(
    ("tuner", "told"),
    [(name, ['[{"parameter": {"seed": 1}, "value": 1}]']) for name in ("GridSearch", "Batch")]
    + [("TPE", [])],
)
def test_a_tuner_that_enumerates_is_told_what_runs_again(tuner: str, told: list[str], tmp_path: Path) -> None:
    """A result is made up for no tuner that would read it."""
    events = [("a", "WAITING", PACKED, None), ("a", "RUNNING", None, None), ("b", "SUCCEEDED", PACKED, None)]
    record = replace(write_database(tmp_path / "AbCd1234", events), config={"tuner": {"name": tuner}})
    tell_tuner(record)
    with sqlite3.connect(record.folder / "db" / "nni.sqlite") as database:
        query = "select data from TrialJobEvent where event = 'IMPORT_DATA' and trialJobId = ''"
        assert [data for (data,) in database.execute(query)] == told
    database.close()
    assert [(trial.id, trial.status) for trial in record.trials()] == [("a", "RUNNING"), ("b", "SUCCEEDED")]


def test_a_lost_trial_is_told_and_runs_again(tmp_path: Path) -> None:
    folder = tmp_path / "AbCd1234"
    record = write_database(
        folder,
        [
            ("a", "WAITING", PACKED, None),
            ("a", "RUNNING", None, None),
            ("a", "SYS_CANCELED", None, "machine me@gpu2:22 was lost"),
            ("b", "SUCCEEDED", PACKED, None),
        ],
    )
    (lost,) = lost_trials(record.trials())
    assert lost.output == folder / "environments" / "remote-worker2" / "trials" / "a"
    assert in_words([lost], record.id) == (
        "lost: trial 0 (a): machine me@gpu2:22 was lost; when the machine is back, go on with: "
        "uxnet launch --resume AbCd1234"
    )
    assert let_run_again(record) == 1
    assert [(trial.id, trial.status, trial.note) for trial in record.trials()] == [
        ("a", "WAITING", ""),
        ("b", "SUCCEEDED", ""),
    ]


@pytest.mark.parametrize("kind", ["parent", "absolute", "link"])
def test_a_machine_cannot_write_outside_the_folder_of_its_trial(tmp_path: Path, kind: str) -> None:
    source, archive = tmp_path / "evil", tmp_path / "files.tar"
    source.write_text("evil")
    with tarfile.open(archive, "w") as tar:
        if kind == "link":
            entry = tarfile.TarInfo("link")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
            tar.addfile(entry)
        else:
            tar.add(source, "../../outside" if kind == "parent" else str(tmp_path / "outside"))
    folder = tmp_path / "exp" / "environments" / "remote-worker1" / "trials" / "abcde"
    send = [sys.executable, "-c", f"import sys; sys.stdout.write(open({str(archive)!r}).read())"]
    if kind == "absolute":  # the leading slash goes: it stays inside
        fetch(folder, send)
    else:
        with pytest.raises(tarfile.FilterError):
            fetch(folder, send)
        assert not folder.exists()
    assert not list(tmp_path.rglob("outside")) or kind == "absolute"
    assert not (tmp_path / "outside").exists()


def test_fetched_files_replace_those_of_before(tmp_path: Path) -> None:
    source = tmp_path / "there"
    source.mkdir()
    (source / "result.json").write_text("new")
    folder = tmp_path / "exp" / "environments" / "remote-worker1" / "trials" / "abcde"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("old")
    fetch(folder, ["tar", "-C", str(source), "-cf", "-", "."])
    assert (folder / "result.json").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["abcde"]
    (folder.parents[1] / "trial_keeper").mkdir()  # the machine's home is the same folder
    fetch(folder, ["false"])
