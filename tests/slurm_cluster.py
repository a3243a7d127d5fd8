"""A SLURM of one node on the loopback interface: munged, slurmctld and slurmd of this user, in a folder of its own.

SLURM believes that the node has a GPU.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian keeps the daemons; not on the path of every user."""
MAX_ARRAY_SIZE = 20

CONFIG = """
ClusterName=uxnet-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=6
CredType=cred/munge
# Without this, the daemons and srun listen on all interfaces.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1
ReturnToService=2
KillWait=2
MaxArraySize={max_array_size}
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 Gres=gpu:1 State=UNKNOWN
# Jobs of "urgent" take the node from those of "main", which are told so by their own signal.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PartitionName=main Nodes=node1 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=node1 MaxTime=INFINITE State=UP PriorityTier=2
"""


@dataclass
class Cluster:
    """The running cluster.

    Attributes:
        folder: with its configuration and logs.
        daemons: its processes.
        environment: what SLURM's commands need to find it.
    """

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]]
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """The output of one of SLURM's commands."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self, name: str) -> None:
        """Starts a daemon, in the foreground of a process of its own."""
        program = shutil.which(name, path=f"{os.environ['PATH']}:{SYSTEM_PATH}")
        assert program is not None
        options = {
            "munged": [
                "--foreground",
                "--force",
                *(
                    f"--{what}={self.folder}/munge.{what.removesuffix('-file')}"
                    for what in ("key-file", "socket", "pid-file", "seed-file", "log-file")
                ),
            ],
            "slurmctld": ["-D", "-i"],
            "slurmd": ["-D", "-N", "node1"],
        }[name]
        with (self.folder / f"{name}.err").open("ab") as errors:
            self.daemons[name] = subprocess.Popen(
                [program, *options],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """Ends a daemon without a warning, as a reboot does."""
        process = self.daemons.pop(name)
        process.kill()
        process.wait(timeout=30)

    def listeners(self) -> set[str]:
        """The addresses on which anything that belongs to this cluster listens now, jobs included."""
        found: set[str] = set()
        for daemon in tuple(self.daemons.values()):  # a test may end one meanwhile
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(daemon.pid)
                for process in [root, *root.children(recursive=True)]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        found |= _listening(process)
        for process in psutil.process_iter(["name", "environ"]):  # step daemons are no children of slurmd
            if (process.info["environ"] or {}).get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found |= _listening(process)
        return found


def _listening(process: psutil.Process) -> set[str]:
    return {
        connection.laddr.ip
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def missing_programs() -> list[str]:
    """The programs of SLURM and munge that this machine lacks."""
    path = f"{os.environ['PATH']}:{SYSTEM_PATH}"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@contextlib.contextmanager
def one_node_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster that takes jobs; ended with all its jobs at the exit.

    Raises:
        RuntimeError: it does not come up; with the last lines of its logs.
    """
    folder.chmod(0o755)  # munged refuses a socket in a folder that others cannot enter
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(64))
    key.chmod(0o600)
    config = folder / "slurm.conf"
    config.write_text(
        CONFIG.format(
            host=socket.gethostname().split(".")[0],
            user=getpass.getuser(),
            folder=folder,
            controller_port=_free_port(),
            node_port=_free_port(),
            max_array_size=MAX_ARRAY_SIZE,
        )
    )
    (folder / "gres.conf").write_text("NodeName=node1 Name=gpu File=/dev/null\n")
    cluster = Cluster(folder, {}, {"SLURM_CONF": str(config)})
    try:
        for name in ("munged", "slurmctld", "slurmd"):
            cluster.start(name)
            if name == "munged":
                _wait(cluster, "munged", lambda: (folder / "munge.socket").exists())
        _wait(cluster, "node", lambda: "idle" in cluster.run("sinfo", "--noheader", "--format=%T"))
        yield cluster
    finally:
        with contextlib.suppress(Exception):
            cluster.run("scancel", "--user", getpass.getuser(), "--full", "--signal=KILL")
            time.sleep(1)
        for daemon in reversed(cluster.daemons.values()):
            daemon.terminate()
        for daemon in cluster.daemons.values():
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _wait(cluster: Cluster, what: str, is_ready: object, timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(RuntimeError):
            if is_ready():  # type: ignore[operator]
                return
        dead = [name for name, process in cluster.daemons.items() if process.poll() is not None]
        if dead or time.monotonic() > deadline:
            raise RuntimeError(
                f"{what} does not come up ({dead or 'timeout'}): {_complaints(cluster.folder)}"
            )
        time.sleep(0.2)


def _complaints(folder: Path) -> str:
    """The last lines of each daemon that tell an error."""
    found = []
    for path in sorted([*folder.glob("*.err"), *folder.glob("*.log")]):
        lines = [line for line in path.read_text().splitlines() if re.search("error|fatal", line, re.I)]
        found += [f"{path.name}: {line}" for line in lines[-3:]]
    return "; ".join(found) or f"nothing in the logs of {folder}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
