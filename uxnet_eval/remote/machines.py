"""The machines that an experiment file lists, and the ssh command that reaches each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.errors import UserError
from search_space.reading import read_json

from ..runs.files import write_json

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig

MACHINES_NAME = "machines.json"
"""In an experiment's folder: its machines, for ``uxnet launch --resume`` and ``uxnet status``."""
SSH_OPTIONS = {
    "BatchMode": "yes",  # nobody is there to answer questions
    "ConnectTimeout": "10",
    # A connection that is dead is given up after 15 s, before NNI gives up the machine.
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ForwardAgent": "no",
    "ForwardX11": "no",
}


@dataclass(frozen=True)
class Machine:
    """One machine.

    Attributes:
        host: a name or address, or a ``Host`` of the user's ssh configuration.
        port: of sshd.
        user: who logs in there.
        key: file of the private key; None: what ssh itself finds.
        python: the Python there that runs the trials, a path or a name.
        environment: variables of its trials, such as ``UXNET_DATA``.
    """

    host: str
    port: int
    user: str
    key: str | None
    python: str
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.user}@{self.host}:{self.port}"

    def ssh(self) -> list[str]:
        """The ssh program and its options; the host and a command follow."""
        options = [f"-o{name}={value}" for name, value in SSH_OPTIONS.items()]
        key = [] if self.key is None else ["-i", self.key, "-oIdentitiesOnly=yes"]
        return ["ssh", *options, *key, "-p", str(self.port), "-l", self.user]


def listed_machines(
    config: ExperimentConfig, environments: Sequence[Mapping[str, str]], source: str
) -> list[Machine]:
    """The machines of an experiment file; none if its training service is another one.

    Args:
        config: checked.
        environments: of the machines, see
            :func:`uxnet_eval.nni_guards.experiment_config.read_environments`.
        source: the beginning of an error message.

    Raises:
        UserError: for settings of NNI's remote service that do not go through a tunnel, or that
            would hang it.
    """
    service = config.training_service
    if isinstance(service, list) or service.platform != "remote":
        return []
    if service.reuse_mode:
        raise UserError(f"{source}: reuseMode opens another port of the manager; leave it out")
    if config.trial_gpu_number or service.trial_gpu_number:
        raise UserError(
            f"{source}: trialGpuNumber hangs NNI on a machine that cannot meet it; leave it out: a trial then sees all "
            "GPUs of its machine"
        )
    for machine in service.machine_list:
        if machine.password is not None or machine.ssh_passphrase is not None:
            raise UserError(
                f"{source}: machine {machine.host} has a password in the file, which NNI's web page shows; "
                "use a key (sshKeyFile), with ssh-agent if it has a passphrase"
            )
    return [
        Machine(
            host=machine.host,
            port=machine.port,
            user=machine.user,
            key=None if machine.ssh_key_file is None else str(machine.ssh_key_file),
            python=f"{machine.python_path.rstrip('/')}/python3" if machine.python_path else "python3",
            environment=environment,
        )
        for machine, environment in zip(service.machine_list, environments, strict=True)
    ]


def for_manager(machines: Sequence[Machine], concurrency: int) -> dict[str, Any]:
    """What NNI's manager is told about them (``remote.js``).

    Args:
        machines: checked, in the order of the file.
        concurrency: trials at once, on all machines together.
    """
    return {
        "perMachine": -(-concurrency // len(machines)),
        "machines": [
            {
                "name": machine.name,
                "host": machine.host,
                "ssh": machine.ssh(),
                "python": machine.python,
                "environment": dict(machine.environment),
            }
            for machine in machines
        ],
    }


def save_machines(machines: Sequence[Machine], folder: Path) -> None:
    """Keeps the machines in the experiment's folder."""
    write_json(folder / MACHINES_NAME, {"machines": [asdict(machine) for machine in machines]})


def load_machines(folder: Path) -> list[Machine]:
    """The machines of an experiment; none if it has no others than this one.

    Raises:
        UserError: if the file is damaged.
    """
    path = folder / MACHINES_NAME
    try:
        return [Machine(**values) for values in read_json(path)["machines"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: the list of machines is damaged ({error}); start the experiment anew"
        ) from None
