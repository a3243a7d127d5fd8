"""NNI's experiments on disk: readable while they run, after they end, and without NNI."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from search_space.errors import UserError, nearest

from ..nni_guards.door import open_url, read_token
from ..remote.machines import Machine, load_machines
from ..runs.names import LOCAL_TRIALS
from ..runs.trial_record import TrialRecord

logger = logging.getLogger(__name__)

DATABASE = ("db", "nni.sqlite")
"""In an experiment's folder."""

_warned_trials: set[str] = set()


@dataclass(frozen=True)
class ExperimentRecord:
    """What NNI recorded about one experiment.

    Attributes:
        id: NNI's experiment id.
        folder: ``<experimentWorkingDirectory>/<id>``.
        config: the nnictl configuration as NNI stored it.
        status: of the manager if it answers (RUNNING, DONE, ERROR ...), else STOPPED.
        port: of the manager's web UI, now or the last time.
        pid: of the manager; None if it does not answer.
        error: what the manager says is wrong, in one line; empty if nothing.
        engine: what runs the trials.
        num_proposed: trials that the tuner has proposed, as the manager says; NNI may not list the
            newest ones yet.
    """

    id: str
    folder: Path
    config: Mapping[str, Any]
    status: str
    port: int
    pid: int | None = None
    error: str = ""
    engine: str = "NNI"
    num_proposed: int = 0

    def trials(self) -> list[TrialRecord]:
        """All trials so far, in the order of their sequence numbers.

        Warns if a trial reported under the parameters of another one, which NNI can bring about
        (:func:`uxnet_eval.nni_guards.next_parameters` prevents it).
        """
        database = _database(self.folder)
        events = _select(
            database,
            "select trialJobId, event, data, sequenceId, message, environmentId from TrialJobEvent order by rowid",
        )
        finals = _select(
            database,
            "select trialJobId, parameterId, data from MetricData where type = 'FINAL' order by rowid",
        )
        return _replay(events, finals, self.folder)

    def intermediates(self, trial_id: str) -> list[dict[str, float]]:
        """The intermediate results of a trial, oldest first: the points of the web UI's curves."""
        rows = _select(
            _database(self.folder),
            "select trialJobId, data from MetricData where type = 'PERIODICAL' order by sequence",
        )
        return [json.loads(json.loads(data)) for owner, data in rows if owner == trial_id]


def _replay(events: list[tuple[Any, ...]], finals: list[tuple[Any, ...]], folder: Path) -> list[TrialRecord]:
    """The trials that follow from NNI's log of events, as its manager derives them."""
    found: dict[str, dict[str, Any]] = {}
    for trial_id, event, data, sequence, message, environment in events:
        if not trial_id:  # imported data, customised trials that wait
            continue
        trial = found.setdefault(
            trial_id, {"status": "UNKNOWN", "record": None, "sequence": None, "environment": LOCAL_TRIALS[1]}
        )
        trial["note"] = message or ""
        trial["environment"] = environment or trial["environment"]
        if event == "USER_TO_CANCEL":
            trial["status"] = "USER_CANCELED"
        elif event in ("ADD_CUSTOMIZED", "ADD_RESUMED"):
            trial["status"] = "WAITING"
        elif event != "ADD_HYPERPARAMETER":
            trial["status"] = event
        if data and trial["record"] is None:
            trial["record"] = json.loads(data)
        if sequence is not None and trial["sequence"] is None:
            trial["sequence"] = sequence
    results: dict[str, dict[str, float]] = {}
    for trial_id, parameter_id, data in finals:
        value = json.loads(json.loads(data))  # NNI packs the result twice
        results[trial_id] = value if isinstance(value, dict) else {"default": value}
        record = found.get(trial_id, {}).get("record") or {"parameter_id": parameter_id}
        if str(record["parameter_id"]) != str(parameter_id) and trial_id not in _warned_trials:
            _warned_trials.add(trial_id)
            logger.warning(
                "trial %s: NNI recorded parameters %s for it, but it ran those of another trial (number %s): "
                "do not trust its parameters",
                trial_id,
                record["parameters"],
                parameter_id,
            )
    machines = load_machines(folder)
    records = [
        TrialRecord(
            id=trial_id,
            sequence=-1 if trial["sequence"] is None else trial["sequence"],
            status=trial["status"],
            parameters=(trial["record"] or {}).get("parameters", {}),
            final=results.get(trial_id),
            output=folder / LOCAL_TRIALS[0] / trial["environment"] / LOCAL_TRIALS[2] / trial_id,
            note=trial["note"] or _place(trial, machines),
        )
        for trial_id, trial in found.items()
    ]
    return sorted(records, key=lambda record: record.sequence)


def _place(trial: Mapping[str, Any], machines: Sequence[Machine]) -> str:
    """Where a running trial is, if that is another machine."""
    number = re.fullmatch(r"remote-worker(\d+)", trial["environment"])  # they are numbered as they are listed
    if number is None or trial["status"] != "RUNNING" or int(number[1]) > len(machines):
        return ""
    return f"on {machines[int(number[1]) - 1].name}"


def find_experiment(experiment_id: str) -> ExperimentRecord:
    """The experiment with this id.

    Raises:
        UserError: if NNI does not know it (the newest ids are listed), or its files are gone.
    """
    known = known_experiments()
    if experiment_id not in known:
        newest = sorted(known, key=lambda name: known[name].get("startTime") or 0, reverse=True)[:5]
        listed = f"the newest are {', '.join(newest)}" if newest else "it knows none"
        raise UserError(
            f"experiment '{experiment_id}' is not known to NNI{nearest(experiment_id, known)}; {listed} ({_index()})"
        )
    entry = known[experiment_id]
    return _read_experiment(
        experiment_id,
        Path(entry["logDir"]) / experiment_id,
        entry["port"],
        entry.get("pid"),
        entry.get("prefixUrl"),
    )


def is_experiment(folder: Path) -> bool:
    """Whether a folder is that of an NNI experiment."""
    return folder.joinpath(*DATABASE).is_file()


def read_experiment(folder: Path) -> ExperimentRecord:
    """The experiment in a folder, also one that has been moved or that NNI has forgotten."""
    entry = known_experiments().get(folder.name, {})
    return _read_experiment(
        folder.name, folder, entry.get("port", 0), entry.get("pid"), entry.get("prefixUrl")
    )


def known_experiments() -> dict[str, dict[str, Any]]:
    """NNI's own list of experiments, by id; empty if it has none.

    Raises:
        UserError: if NNI's list is damaged.
    """
    for attempt in range(5):
        try:
            return dict(json.loads(_index().read_text()))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            if attempt == 4:
                raise UserError(f"{_index()}: NNI's list of experiments cannot be read ({error})") from None
            time.sleep(0.2)  # NNI rewrites it in place: it may be half written
    raise AssertionError("unreachable")


def nni_folder() -> Path:
    """The folder of NNI's list of experiments, in the home folder; it may be missing.

    Raises:
        UserError: if this user has no home folder.
    """
    try:
        return Path.home() / "nni-experiments"
    except RuntimeError:
        raise UserError(
            "this user has no home folder, and NNI keeps its list of experiments there; set HOME to a folder that can "
            "be written to"
        ) from None


def _index() -> Path:
    return nni_folder() / ".experiment"


def _read_experiment(
    experiment_id: str, folder: Path, port: int, pid: int | None, prefix: str | None
) -> ExperimentRecord:
    rows = _select(
        _database(folder),
        "select params from ExperimentProfile where id = ? order by revision desc",
        experiment_id,
    )
    config = json.loads(rows[0][0]) if rows else {}
    found = manager_status(port, experiment_id, prefix, folder) or ManagerStatus("STOPPED", "", 0)
    return ExperimentRecord(
        experiment_id,
        folder,
        config,
        found.status,
        port,
        None if found.status == "STOPPED" else pid,
        found.error,
        num_proposed=found.num_proposed,
    )


class ManagerStatus(NamedTuple):
    """What the manager of an experiment says; see :class:`ExperimentRecord`."""

    status: str
    error: str
    num_proposed: int


def manager_status(
    port: int, experiment_id: str, prefix: str | None = None, folder: Path | None = None
) -> ManagerStatus | None:
    """What the manager of an experiment says; None if it does not answer.

    Args:
        port: of the manager.
        experiment_id: NNI's id.
        prefix: what NNI puts before the paths of its addresses.
        folder: the experiment's, with its token; None: where NNI's list says.
    """
    if folder is None:
        folder = Path(known_experiments().get(experiment_id, {}).get("logDir", "")) / experiment_id
    token = read_token(folder)
    profile = ask_manager(port, "experiment", prefix, token)
    if not isinstance(profile, dict) or profile.get("id") != experiment_id:
        return None
    status = ask_manager(port, "check-status", prefix, token)
    if not isinstance(status, dict):
        return None
    error = " ".join(" ".join(map(str, status.get("errors", []))).split())
    return ManagerStatus(str(status["status"]), error, int(profile.get("nextSequenceId", 0)))


def ask_manager(
    port: int, path: str, prefix: str | None = None, token: str | None = None, timeout_s: float = 5.0
) -> Any:
    """The parsed answer of the manager on a port of this machine; None without a valid one."""
    between = f"/{prefix.strip('/')}" if prefix else ""
    try:
        url = f"http://127.0.0.1:{port}{between}/api/v1/nni/{path}"
        with open_url(url, token, timeout_s) as answer:
            return json.loads(answer.read())
    except (OSError, ValueError):
        return None


def _database(folder: Path) -> Path:
    file = folder.joinpath(*DATABASE)
    if not file.is_file():
        raise UserError(
            f"{folder}: not an NNI experiment ({file.relative_to(folder)} is missing); was it moved?"
        )
    return file


def _select(database: Path, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    # Read-only, so that reading can never disturb a manager that is writing.
    address = f"{database.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
            return connection.execute(query, arguments).fetchall()
    except sqlite3.Error as error:
        raise UserError(f"{database}: NNI's database cannot be read ({error})") from None
