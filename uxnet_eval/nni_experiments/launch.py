"""Starting, watching and stopping NNI experiments through ``nnictl``, with the guards around it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from search_space.errors import UserError

from ..nni_guards import check_experiment_config, check_stored_config, manager_environment
from ..nni_guards.door import page_address
from ..remote.machines import Machine, for_manager, save_machines
from .lost_trials import let_run_again, lost_trials, tell_tuner
from .nnictl import deferred_interrupt, last_line, nnictl, one_launch_at_a_time, token_for_nnictl
from .other_machines import known_machines, new_machines
from .ports import free_port, require_free
from .progress import REPORT_PAGE, wait_until_done
from .records import find_experiment, known_experiments, manager_status

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig


@dataclass(frozen=True)
class Launched:
    """A running experiment.

    Attributes:
        experiment_id: NNI's id.
        url: of the web UI, on this machine alone, with the token that opens it.
        port: of the web UI.
        folder: the experiment's folder.
        machines: other machines that run the trials; empty: this one does.
    """

    experiment_id: str
    url: str
    port: int
    folder: Path
    machines: tuple[Machine, ...] = ()

    @property
    def report_url(self) -> str:
        """The address of the report of all searches, with the token."""
        return page_address(self.port, self.folder, REPORT_PAGE)


def launch(
    config: str | os.PathLike[str],
    *,
    port: int | None = None,
    experiment_dir: str | os.PathLike[str] | None = None,
    wait: bool = False,
    open_to_network: bool = False,
) -> Launched:
    """Starts an experiment with ``nnictl create`` under the guards of :mod:`uxnet_eval.nni_guards`.

    Args:
        config: the nnictl YAML file.
        port: of the web UI; None: the first free one from 8080 on.
        experiment_dir: folder for the experiment's own folder instead of the file's
            ``experimentWorkingDirectory``.
        wait: show the progress and return when no trial is left. The web UI goes on until
            :func:`stop`.
        open_to_network: let the manager listen on all interfaces, behind the same token. Machines
            of a training service other than ``local`` and ``remote`` need that. They report to the
            port after it, which knows no token; use it in a network that you trust.

    Raises:
        UserError: if a guard refuses the file, a machine does not fit (one line each), the port is
            taken, nnictl fails, or (with ``wait``) the experiment ends in an error.
    """
    checked = check_experiment_config(config)
    _check_reach(checked, open_to_network, str(config))
    machines = new_machines(checked, config)
    with contextlib.ExitStack() as stack:
        file = Path(config)
        if experiment_dir is not None or machines:
            values = checked.json()  # all paths in it are absolute, and NNI knows all keys
            if experiment_dir is not None:
                folder = Path(experiment_dir).absolute()
                folder.mkdir(parents=True, exist_ok=True)
                values["experimentWorkingDirectory"] = str(folder)
            file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / file.name
            file.write_text(yaml.safe_dump(values, sort_keys=False))
        launched = _start(
            ["create", "--config", str(file)],
            port,
            open_to_network,
            str(config),
            machines,
            checked.trial_concurrency,
        )
    if wait:
        wait_until_done(launched.experiment_id)
    return launched


def resume(
    experiment_id: str, *, port: int | None = None, wait: bool = False, open_to_network: bool = False
) -> Launched:
    """Goes on with an experiment that was stopped or whose manager died, under the same guards.

    Unfinished trials, and those whose machine was lost, start again in their old folders; a search
    continues from its checkpoint there.

    Raises:
        UserError: if NNI does not know the experiment, it still runs, or :func:`launch` would
            refuse it.
    """
    record = find_experiment(experiment_id)
    if record.pid is not None and record.status == "DONE" and lost_trials(record.trials()):
        stop(experiment_id)  # only its web page goes on
        record = find_experiment(experiment_id)
    if record.pid is not None:
        raise UserError(
            f"experiment {experiment_id} is {record.status} at {page_address(record.port, record.folder)}; nothing to resume"
        )
    source = f"experiment {experiment_id}"
    checked = check_stored_config(record.config, source)
    _check_reach(checked, open_to_network, source)
    machines = known_machines(checked, record.folder, source)
    if machines:
        let_run_again(record)
    tell_tuner(record)
    command = ["resume", experiment_id, "--experiment_dir", str(record.folder.parent)]
    launched = _start(command, port, open_to_network, source, machines, checked.trial_concurrency)
    if wait:
        wait_until_done(experiment_id)
    return launched


def stop(experiment_id: str, timeout_s: float = 60.0) -> None:
    """Stops an experiment, its trials and its web UI; does nothing if it does not run.

    Raises:
        UserError: if NNI does not know it, or it still runs after ``timeout_s`` seconds.
    """
    record = find_experiment(experiment_id)
    if record.pid is None:
        return
    nnictl(["stop", experiment_id], dict(os.environ))
    deadline = time.monotonic() + timeout_s
    while manager_status(record.port, experiment_id) is not None or _is_alive(record.pid):
        if time.monotonic() > deadline:
            raise UserError(
                f"experiment {experiment_id} still runs {timeout_s:.0f} s after nnictl stop; "
                f"end process {record.pid} by hand"
            )
        time.sleep(0.2)


def _check_reach(config: ExperimentConfig, open_to_network: bool, source: str) -> None:
    services = (
        config.training_service if isinstance(config.training_service, list) else [config.training_service]
    )
    others = [service.platform for service in services if service.platform != "local"]
    if others == ["remote"] and len(services) == 1:
        if open_to_network:
            raise UserError(f"{source}: remote machines come through tunnels; leave --open-to-network out")
    elif others and not open_to_network:
        raise UserError(
            f"{source}: machines of platform {others[0]} must reach the manager, which here listens on 127.0.0.1 "
            "alone; they report without a password, so only in a network you trust: --open-to-network"
        )


def _start(
    command: list[str],
    port: int | None,
    open_to_network: bool,
    source: str,
    machines: Sequence[Machine] = (),
    concurrency: int = 1,
) -> Launched:
    with one_launch_at_a_time() as lock, deferred_interrupt() as interrupts:
        port = free_port(open_to_network) if port is None else require_free(port)
        environment = manager_environment(open_to_network)
        if machines:
            environment["UXNET_MACHINES"] = json.dumps(for_manager(machines, concurrency))
        with token_for_nnictl(environment):
            output = nnictl([*command, "--port", str(port)], environment, lock)
        named = re.search(r"Experiment ID:\s*([\w-]+)", output)
        if named is None:
            raise UserError(f"{source}: nnictl named no experiment; it said: {last_line(output)}")
        experiment_id = named[1]
    if interrupts:
        stop(experiment_id)
        raise KeyboardInterrupt
    _require_healthy(experiment_id, port, source)
    folder = find_experiment(experiment_id).folder
    if machines:
        save_machines(machines, folder)
    return Launched(experiment_id, page_address(port, folder), port, folder, tuple(machines))


def _require_healthy(experiment_id: str, port: int, source: str, settle_s: float = 1.0) -> None:
    """Waits until the started manager itself runs.

    nnictl reports success when any manager answers: another one, or one about to fail.
    """
    time.sleep(settle_s)
    found = manager_status(port, experiment_id)
    if found is None:
        raise UserError(
            f"{source}: nothing of experiment {experiment_id} answers on port {port}; see its log under "
            f"{known_experiments().get(experiment_id, {}).get('logDir', '~/nni-experiments')}/{experiment_id}/log"
        )
    if found[0] == "ERROR":
        stop(experiment_id)
        raise UserError(
            f"{source}: experiment {experiment_id} failed at its start: {found[1] or 'no reason given'}"
        )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A manager whose parent has not yet asked for its exit code is a zombie: it runs no more.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return True
