"""Machines that are reached by ssh: an sshd each on the loopback interface, with a user and a home of its own.

The machine's user is an account that its sshd alone knows, through nss_wrapper. Its processes run with the rights of
who runs the tests. Without nss_wrapper, that user logs in.
"""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SYSTEM_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
"""Debian keeps sshd where not every user looks."""
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
SetEnv HOME={home} {environment}
{more}
"""


@dataclass
class Machine:
    """One machine.

    Attributes:
        folder: of its sshd and its home.
        port: of sshd.
        environment: variables of every session there.
        user: who logs in.
        more: further lines of ``sshd_config``.
        sshd: its process; None: the machine is off.
    """

    folder: Path
    port: int
    environment: dict[str, str]
    user: str
    more: str = ""
    sshd: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def turn_on(self) -> None:
        """Starts sshd; returns when it listens."""
        given = " ".join(f'{name}="{value}"' for name, value in self.environment.items())
        config = self.folder / "sshd_config"
        config.write_text(
            CONFIG.format(
                port=self.port, folder=self.folder, home=self.home, environment=given, more=self.more
            )
        )
        program = shutil.which("sshd", path=SYSTEM_PATH)
        assert program is not None
        with (self.folder / "sshd.log").open("ab") as log:
            self.sshd = subprocess.Popen(
                [program, "-D", "-e", "-f", str(config)],
                env={**os.environ, **self._accounts()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.sshd.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd does not start: {(self.folder / 'sshd.log').read_text()[-500:]}")
            time.sleep(0.1)

    def _accounts(self) -> dict[str, str]:
        """The variables that let sshd know the machine's user, who is the user of the tests by another name."""
        library = nss_wrapper()
        if library is None:
            return {}
        known = pwd.getpwall()
        own = f"{self.user}:x:{os.getuid()}:{os.getgid()}::{self.home}:/bin/sh\n"
        passwd, group = self.folder / "passwd", self.folder / "group"
        passwd.write_text(own + "".join(":".join(map(str, each)) + "\n" for each in known))
        group.write_text("".join(f"{each.gr_name}:x:{each.gr_gid}:\n" for each in grp.getgrall()))
        return {"LD_PRELOAD": library, "NSS_WRAPPER_PASSWD": str(passwd), "NSS_WRAPPER_GROUP": str(group)}

    def processes(self) -> list[psutil.Process]:
        """Everything that runs on this machine."""
        found = []
        if self.sshd is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(self.sshd.pid)
                found += [root, *root.children(recursive=True)]
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get("HOME") == str(self.home):
                found.append(process)
        return list(dict.fromkeys(found))

    def named(self, name: str) -> list[psutil.Process]:
        """What runs on this machine by the name of a program."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == name:
                    found.append(process)
        return found

    def turn_off(self) -> None:
        """Ends all of it without a warning, as a loss of power does."""
        for _ in range(2):  # what was started meanwhile too
            for process in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        if self.sshd is not None:
            self.sshd.wait(timeout=30)
            self.sshd = None


def missing_programs() -> list[str]:
    """The programs of OpenSSH that this machine lacks."""
    return [name for name in ("sshd", "ssh", "ssh-keygen") if shutil.which(name, path=SYSTEM_PATH) is None]


@contextlib.contextmanager
def machines(
    folder: Path, settings: dict[str, str], environment: dict[str, str]
) -> Iterator[dict[str, Machine]]:
    """Machines that are on, by name; all of it ends at the exit.

    ``folder/bin/ssh`` is the ssh that knows their host keys, ``folder/key`` the key that they take.

    Args:
        folder: for everything.
        settings: further lines of ``sshd_config``, by the machines' names.
        environment: variables of every session.

    Raises:
        RuntimeError: if sshd does not start.
    """
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd of Debian wants it where it separates privileges
    _make_key(folder / "key")
    found = {}
    known = []
    for name, more in settings.items():
        account = f"user-{name}" if nss_wrapper() else getpass.getuser()
        machine = Machine(folder / name, free_port(), environment, account, more)
        machine.home.mkdir(parents=True)
        _make_key(machine.folder / "host_key")
        shutil.copy(folder / "key.pub", machine.folder / "authorized_keys")
        kind, key, *_ = (machine.folder / "host_key.pub").read_text().split()
        known.append(f"[127.0.0.1]:{machine.port} {kind} {key}\n")
        found[name] = machine
    (folder / "known_hosts").write_text("".join(known))
    (folder / "ssh_config").write_text(
        f"UserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile /dev/null\nIdentityAgent none\n"
    )
    (folder / "bin").mkdir()
    ssh = folder / "bin" / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec "{shutil.which("ssh")}" -F "{folder}/ssh_config" "$@"\n')
    ssh.chmod(0o755)
    try:
        for machine in found.values():
            machine.turn_on()
        yield found
    finally:
        for machine in found.values():
            machine.turn_off()


def listeners(pids: set[int]) -> set[str]:
    """The addresses on which any of these processes listens."""
    return {
        each.laddr.ip
        for each in psutil.net_connections(kind="tcp")
        if each.status == psutil.CONN_LISTEN and each.pid in pids
    }


def nss_wrapper() -> str | None:
    """The library that gives a process further accounts (Debian: libnss-wrapper); None: it is not installed."""
    found = sorted(Path("/usr/lib").glob("**/libnss_wrapper.so"))
    return str(found[0]) if found else None


def _make_key(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=30)


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
