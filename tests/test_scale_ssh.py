"""Trials on other machines through NNI and tunnels of ssh, on a real sshd: a machine dies, others do not fit."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import ssh_machines
import yaml
from ssh_machines import Machine, free_port, listeners, missing_programs
from typer.testing import CliRunner

from search_space import UserError
from uxnet_eval.cli import app
from uxnet_eval.nni_experiments.launch import stop
from uxnet_eval.nni_experiments.records import ExperimentRecord, find_experiment, known_experiments

pytestmark = [pytest.mark.slow, pytest.mark.scale]

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "one": "",
    "two": "",
    "open": "GatewayPorts yes",
    "closed": "AllowTcpForwarding no",
    "refusing": "",
    "off": "",
    "stranger": "",
}
"""The machines: two that fit, and some that do not."""
TRIAL = """
import json, os, time
from pathlib import Path
from uxnet_eval.nni_guards import next_parameters, report_final, report_intermediate, trial_output
parameters = next_parameters()
folder = trial_output()
steps = folder / "steps"
starts = folder / "starts"
starts.write_text((starts.read_text() if starts.exists() else "") + ".")
seen = {"home": os.environ["HOME"], "data": os.environ["UXNET_DATA"], "number": parameters["number"]}
(folder / "seen.json").write_text(json.dumps(seen))
while not Path("GO").exists():
    steps.write_text((steps.read_text() if steps.exists() else "") + ".")
    time.sleep(0.5)
report_intermediate({"default": len(steps.read_text())})
report_final({"default": parameters["number"] / 10})
"""


class Watch:
    """Looks, all the time, where processes listen and what their command lines tell.

    Attributes:
        addresses: on which any of them listened.
        exposed: command lines with a key in them.
        num_looks: how often it has looked.
    """

    def __init__(self, home: Path, watched: list[Machine]) -> None:
        self.homes = {str(home), *(str(machine.home) for machine in watched)}
        self.watched = watched
        self.addresses: set[str] = set()
        self.exposed: list[str] = []
        self.num_looks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(1):
            self._look()

    def _look(self) -> None:
        found = {}
        for process in psutil.process_iter():  # their `info` is shared with other threads
            with contextlib.suppress(psutil.NoSuchProcess):
                found[process.pid] = process.as_dict(["ppid", "environ", "cmdline"])
        roots = {sshd.pid for machine in self.watched if (sshd := machine.sshd) is not None}
        mine = set()
        for pid, values in found.items():
            ancestor: int | None = pid
            while ancestor in found and ancestor not in roots:
                ancestor = found[ancestor]["ppid"]
            if ancestor in roots or (values["environ"] or {}).get("HOME") in self.homes:
                mine.add(pid)
                command = " ".join(values["cmdline"] or [])
                if "uxnet:" in command:
                    self.exposed.append(command)
        self.num_looks += 1
        self.addresses |= listeners(mine)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Machine]]:
    """The machines; at the end, nothing of the two that fit, nor NNI's manager, ever listened beyond loopback."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"needs OpenSSH: {missing[0]} is not installed (Debian: apt install openssh-server)")
    folder = tmp_path_factory.mktemp("ssh")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        context = ssh_machines.machines(folder, SETTINGS, environment)
        try:
            found = context.__enter__()
        except (RuntimeError, OSError) as error:
            pytest.skip(f"sshd does not start on this machine: {' '.join(str(error).split())[:600]}")
        try:
            (folder / "here").mkdir()
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setenv("HOME", str(folder / "here"))
            patch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
            with Watch(folder / "here", [found["one"], found["two"]]) as watch:
                yield found
                for name in known_experiments():
                    stop(name)
        finally:
            context.__exit__(None, None, None)
    assert watch.addresses == {"127.0.0.1"}
    assert watch.exposed == []


def uxnet(*arguments: str | Path) -> tuple[str, str]:
    """The output of a command, and the error that it would print; in this process, which has loaded everything."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, (UserError, SystemExit)):
        raise done.exception
    return done.stdout, str(done.exception or "")


def entry(machine: Machine, data: Path | str | None, python: Path | None = None) -> dict[str, object]:
    """A machine in ``machineList``."""
    return {
        "host": "127.0.0.1",
        "port": machine.port,
        "user": machine.user,
        "sshKeyFile": str(machine.folder.parent / "key"),
        "pythonPath": str(python or Path(sys.executable).parent),
        "environment": {} if data is None else {"UXNET_DATA": str(data)},
    }


def write_experiment(folder: Path, listed: list[dict[str, object]], command: str) -> Path:
    path = folder / "tiny.yml"
    name = "seed" if "--config" in command else "number"
    values = {
        "experimentName": "tiny",
        "searchSpace": {name: {"_type": "choice", "_value": [1, 2]}},
        "trialCommand": command,
        "trialCodeDirectory": str(folder / "code"),
        "trialConcurrency": 2,
        "maxTrialNumber": 2,
        "tuner": {"name": "GridSearch"},
        "trainingService": {"platform": "remote", "machineList": listed},
    }
    path.write_text(yaml.safe_dump(values))
    return path


def wait(condition: Callable[[], object], experiment: str, timeout_s: float = 600) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            record = find_experiment(experiment)
            log = (record.folder / "log" / "nnimanager.log").read_text()[-4000:]
            raise AssertionError(f"waited in vain: {record.status} {record.trials()} {log}")
        time.sleep(0.5)


def statuses(record: ExperimentRecord) -> list[str]:
    return [trial.status for trial in record.trials()]


def launch_two_trials(one: Machine, two: Machine, folder: Path) -> str:
    """Starts an experiment of two trials, one on each machine, which go on until GO; its id."""
    (folder / "code").mkdir()
    (folder / "code" / "trial.py").write_text(TRIAL)
    listed = [entry(one, "/data/one"), entry(two, "/data/two")]
    file = write_experiment(folder, listed, "exec python3 trial.py")
    shown, error = uxnet("launch", file, "--port", str(free_port()), "--experiment-dir", folder / "runs")
    assert not error, error
    return shown.split("experiment:")[1].split()[0]


def output(experiment: str, machine: Machine, number: int) -> Path:
    """The trial's folder on its machine, which is the first or the second of the experiment."""
    trial = find_experiment(experiment).trials()[number].id
    worker = f"remote-worker{number + 1}"
    return machine.home / "nni-experiments" / experiment / "environments" / worker / "trials" / trial


def wait_for_steps(experiment: str, one: Machine, two: Machine) -> None:
    """Until trial 0 runs on the first machine and trial 1 on the second."""

    def both_go() -> bool:
        trials = find_experiment(experiment).trials()
        return len(trials) == 2 and all(
            (output(experiment, machine, number) / "steps").exists()
            for number, machine in enumerate((one, two))
        )

    wait(both_go, experiment)


def let_end(experiment: str, machine: Machine, worker: int) -> None:
    """Lets the trials of a machine end."""
    code = f"nni-experiments/{experiment}/environments/remote-worker{worker}/upload/trial_code"
    (machine.home / code / "GO").touch()


def test_two_trials_on_two_machines_one_of_which_dies(machines: dict[str, Machine], tmp_path: Path) -> None:
    one, two = machines["one"], machines["two"]
    experiment = launch_two_trials(one, two, tmp_path)
    try:
        run_two_trials(experiment, one, two)
    finally:
        stop(experiment)


def run_two_trials(experiment: str, one: Machine, two: Machine) -> None:
    record = find_experiment(experiment)
    wait_for_steps(experiment, one, two)
    assert f"on {two.user}@127.0.0.1:{two.port}" in uxnet("status", experiment)[0]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for machine in (one, two):
        (keeper,) = machine.named("node")
        port = next(each.laddr.port for each in keeper.net_connections() if each.status == psutil.CONN_LISTEN)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            direct.open(f"http://127.0.0.1:{port}/env/remote-worker1/abcde", timeout=30)

    (tunnel,) = tunnels(one)
    tunnel.kill()  # the network breaks for a moment
    two.turn_off()
    wait(lambda: "SYS_CANCELED" in statuses(record), experiment)
    lost = record.trials()[1]
    assert lost.status == "SYS_CANCELED" and lost.note == f"machine {two.user}@127.0.0.1:{two.port} was lost"
    assert "was lost" in uxnet("status", experiment)[0]
    wait(lambda: tunnels(one), experiment)
    let_end(experiment, one, 1)
    wait(lambda: find_experiment(experiment).status == "DONE", experiment)
    assert statuses(record) == ["SUCCEEDED", "SYS_CANCELED"]

    _, refused = uxnet("launch", "--resume", experiment)  # the machine is still off
    assert f"machine {two.user}@127.0.0.1:{two.port}: does not answer" in refused and "\n" not in refused
    steps = (output(experiment, two, 1) / "steps").read_text()
    two.turn_on()
    let_end(experiment, two, 2)
    _, error = uxnet("launch", "--resume", experiment, "--port", str(free_port()), "--wait")
    assert not error, error
    assert statuses(record) == ["SUCCEEDED", "SUCCEEDED"]
    for trial, machine, data, starts in zip(
        record.trials(), (one, two), ("/data/one", "/data/two"), (".", ".."), strict=True
    ):
        seen = json.loads((trial.output / "seen.json").read_text())  # fetched
        assert seen == {"home": str(machine.home), "data": data, **trial.parameters}
        assert trial.final == {"default": trial.parameters["number"] / 10}
        assert (trial.output / "starts").read_text() == starts
    assert {trial.parameters["number"] for trial in record.trials()} == {1, 2}
    assert (record.trials()[1].output / "steps").read_text() == steps
    stop(experiment)
    wait(lambda: not tunnels(), experiment)  # they end with the manager
    wait(lambda: not one.named("node"), experiment)


def test_the_manager_dies_and_resume_goes_on(machines: dict[str, Machine], tmp_path: Path) -> None:
    one, two = machines["one"], machines["two"]
    experiment = launch_two_trials(one, two, tmp_path)
    try:
        wait_for_steps(experiment, one, two)
        manager = find_experiment(experiment).pid
        assert manager is not None
        psutil.Process(manager).kill()
        wait(lambda: not any(each.named("node") + trials_on(each) for each in (one, two)), experiment, 120)
        wait(lambda: not tunnels(), experiment, 60)
        assert find_experiment(experiment).pid is None
        steps = [
            (output(experiment, machine, number) / "steps").read_text()
            for number, machine in enumerate((one, two))
        ]
        for number, machine in enumerate((one, two)):
            let_end(experiment, machine, number + 1)
        _, error = uxnet("launch", "--resume", experiment, "--port", str(free_port()), "--wait")
        assert not error, error
        record = find_experiment(experiment)
        assert statuses(record) == ["SUCCEEDED", "SUCCEEDED"]
        for trial, kept in zip(record.trials(), steps, strict=True):
            assert trial.final == {"default": trial.parameters["number"] / 10}
            assert (trial.output / "starts").read_text() == ".."  # in its old folder
            assert (trial.output / "steps").read_text() == kept
    finally:
        stop(experiment)


def trials_on(machine: Machine) -> list[psutil.Process]:
    """The trials that run on a machine."""
    found = []
    for process in machine.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline()[1:] == ["trial.py"]:
                found.append(process)
    return found


def tunnels(machine: Machine | None = None) -> list[psutil.Process]:
    """The ssh processes that hold tunnels, those of one machine or all."""
    wanted = {"-R", "echo open; exec cat"} | ({str(machine.port)} if machine else set())
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if wanted <= set(process.cmdline()):
                found.append(process)
    return found


def test_machines_that_do_not_fit_are_told_before_anything_starts(
    machines: dict[str, Machine], tmp_path: Path, demo_set: Path
) -> None:
    (tmp_path / "code").mkdir()
    plan = {"spacing_mm": [1, 1, 1], "patch_size": [16, 16, 16], "strides": [[2, 2, 2], [2, 2, 2]]}
    run = {"dataset": demo_set.name, "plan": {**plan, "batch_size": 1}}
    (tmp_path / "code" / "tiny.run.yml").write_text(yaml.safe_dump(run))
    here, empty, changed = demo_set.parent, tmp_path / "empty", tmp_path / "changed"
    empty.mkdir()
    (changed / demo_set.name).mkdir(parents=True)
    (changed / demo_set.name / "dataset.json").write_text("{}")
    old = tmp_path / "old"
    old.mkdir()
    script = "import sys; sys.version_info = (3, 8, 1); exec(sys.stdin.read())"
    (old / "python3").write_text(f"#!/bin/sh\nexec {sys.executable} -c {shlex.quote(script)}\n")
    (old / "python3").chmod(0o755)
    (machines["refusing"].folder / "authorized_keys").write_text("")
    machines["off"].turn_off()
    hosts = machines["stranger"].folder.parent / "known_hosts"
    stranger = f":{machines['stranger'].port} "
    known = [line for line in hosts.read_text().splitlines(keepends=True) if stranger not in line]
    hosts.write_text("".join(known))
    expected = [
        (entry(machines["one"], here, old), "is Python 3.8, here it is 3."),
        (entry(machines["one"], here, empty), f"cannot run {empty}/python3"),
        (entry(machines["one"], None), "the data set is missing (UXNET_DATA is not set); copy"),
        (
            entry(machines["two"], empty),
            f"the data set is missing ({empty}/{demo_set.name} is no folder); copy",
        ),
        (entry(machines["two"], changed), "its data set differs (1 files, elsewhere"),
        (entry(machines["refusing"], here), "refuses the key ("),
        (entry(machines["off"], here), "does not answer ("),
        (entry(machines["stranger"], here), "its host key is not the one known here"),
        (entry(machines["open"], here), "set GatewayPorts to no"),
        (entry(machines["closed"], here), "set AllowTcpForwarding to yes"),
    ]
    listed = [machine for machine, _ in expected]
    command = "python3 -m uxnet_eval.cli search --config tiny.run.yml"
    before = set(known_experiments())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UXNET_DATA", str(here))
        _, error = uxnet(
            "launch", write_experiment(tmp_path, [entry(machines["one"], here), *listed], command)
        )
        first, *lines = error.splitlines()
        assert first.endswith("10 of 11 machines do not fit, nothing was started:")
        for line, (machine, message) in zip(lines, expected, strict=True):
            assert line.startswith(f"machine {machine['user']}@127.0.0.1:{machine['port']}: "), line
            assert message in line
        _, error = uxnet("launch", write_experiment(tmp_path, listed[4:5], command))
        assert error.endswith("nothing was started") and "\n" not in error
    assert set(known_experiments()) == before and not tunnels()
