"""What grows with machines: ``PYTHONPATH=tests python -m benchmarks.growth_machines -o growth-machines.json``.

The machines are those of ``tests/test_scale_ssh.py``: an sshd each on the loopback interface. All share the cores of
this one, so the seconds are more than on machines of their own. A trial on each does nothing but wait.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest
import ssh_machines
import test_scale_ssh as ssh_tests
import yaml

from uxnet_eval.nni_experiments.launch import stop
from uxnet_eval.nni_experiments.records import find_experiment
from uxnet_eval.nni_guards import check_experiment_config
from uxnet_eval.nni_guards.experiment_config import read_environments
from uxnet_eval.remote.check import check_machines
from uxnet_eval.remote.machines import listed_machines
from uxnet_eval.runs.files import write_json

NUM_MACHINES = (1, 4, 8)
QUIET_S = 10.0


def experiment_file(folder: Path, machines: Iterable[ssh_machines.Machine]) -> Path:
    """An experiment with a trial for each machine."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "trial.py").write_text(ssh_tests.TRIAL)
    listed = [ssh_tests.entry(machine, "/data") for machine in machines]
    file = ssh_tests.write_experiment(folder, listed, "exec python3 trial.py")
    values = yaml.safe_load(file.read_text())
    values["searchSpace"]["number"]["_value"] = list(range(len(listed)))
    file.write_text(yaml.safe_dump(values | {"trialConcurrency": len(listed), "maxTrialNumber": len(listed)}))
    return file


def of_machines(count: int) -> dict[str, Any]:
    environment = {"PYTHONPATH": str(ssh_tests.ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        folder = Path(scratch)
        names = {f"machine{number}": "" for number in range(count)}
        with ssh_machines.machines(folder, names, environment) as machines:
            (folder / "here").mkdir()
            here = {"HOME": str(folder / "here"), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
            for name, value in {**environment, **here}.items():
                patch.setenv(name, value)
            file = experiment_file(folder / "experiment", machines.values())
            listed = listed_machines(check_experiment_config(file), read_environments(file), str(file))
            started = time.monotonic()
            check_machines(listed, None, None, str(file))
            check_s, started = time.monotonic() - started, time.monotonic()
            port = str(ssh_machines.free_port())
            shown, error = ssh_tests.uxnet(
                "launch", file, "--port", port, "--experiment-dir", folder / "runs"
            )
            if error:
                raise SystemExit(error)
            experiment = shown.split("experiment:")[1].split()[0]
            try:
                running = machines.values()
                ssh_tests.wait(lambda: all(map(ssh_tests.trials_on, running)), experiment)
                start_s = time.monotonic() - started
                return {
                    "machines": count,
                    "check_s": check_s,
                    "start_s": start_s,
                    **_costs(experiment, running),
                }
            finally:
                stop(experiment)


def _costs(experiment: str, machines: Iterable[ssh_machines.Machine]) -> dict[str, float]:
    """Memory, and processor time of the manager while the trials run."""
    pid = find_experiment(experiment).pid
    assert pid is not None
    manager = psutil.Process(pid)
    before = sum(manager.cpu_times()[:2])
    time.sleep(QUIET_S)
    tunnels = ssh_tests.tunnels()
    keepers = [keeper for machine in machines for keeper in machine.named("node")]
    return {
        "manager_share_of_a_core": (sum(manager.cpu_times()[:2]) - before) / QUIET_S,
        "manager_mb": manager.memory_info().rss / 1e6,
        "tunnel_mb": sum(each.memory_info().rss for each in tunnels) / len(tunnels) / 1e6,
        "keeper_mb": sum(each.memory_info().rss for each in keepers) / len(keepers) / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    output = parser.parse_args().output
    found = []
    for count in NUM_MACHINES:
        found.append(of_machines(count))
        print(found[-1], flush=True)
    write_json(output, {"machines": found})


if __name__ == "__main__":
    main()
