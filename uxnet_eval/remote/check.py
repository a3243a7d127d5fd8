"""Whether the machines of an experiment fit, before anything is started."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_space.errors import UserError

from . import probe
from .machines import Machine

TIMEOUT_S = 120.0
MAX_FILES = 2000
CLOSED_PORT = 1
"""A port of this machine where nobody answers, for the tunnel that is tried."""


def check_machines(
    machines: Sequence[Machine], dataset: str | None, here: Path | None, source: str
) -> list[Machine]:
    """The machines, each with the full path of its Python.

    Args:
        machines: of the experiment; all are asked at the same time.
        dataset: as the run configuration names it; None: the trials need none.
        here: its folder on this machine; None if it is not here. Then the machines must agree.
        source: the beginning of an error message.

    Raises:
        UserError: if a machine does not fit; one line for each, which says what to do.
    """
    request: dict[str, Any] = {"dataset": None if here is None else str(here), "environment": {}}
    wanted = probe.probe(request)
    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = list(pool.map(lambda machine: _ask(machine, dataset), machines))
    known = [
        answer["data"] for answer in answers if isinstance(answer, dict) and "files" in (answer["data"] or {})
    ]
    if wanted["data"] is None and known:
        wanted["data"] = known[0]
    faults = []
    for machine, answer in zip(machines, answers, strict=True):
        found = answer if isinstance(answer, str) else "; ".join(_differences(answer, wanted))
        if found:
            faults.append(f"machine {machine.name}: {found}")
    if len(faults) == 1:
        raise UserError(f"{source}: {faults[0]}; nothing was started")
    if faults:
        count = f"{len(faults)} of {len(machines)} machines do not fit, nothing was started"
        raise UserError("\n".join([f"{source}: {count}:", *faults]))
    return [
        replace(machine, python=answer["executable"])
        for machine, answer in zip(machines, answers, strict=True)
        if isinstance(answer, dict)
    ]


def check_code_folder(folder: Path, source: str) -> None:
    """Refuses a ``trialCodeDirectory`` that NNI does not send: it gives up at 2,000 files.

    Args:
        folder: that directory.
        source: the beginning of an error message.

    Raises:
        UserError: if it has more, and no ``.nniignore`` that leaves some out.
    """
    if (folder / ".nniignore").exists():
        return
    for count, _ in enumerate(path for path in folder.rglob("*") if not path.is_dir()):
        if count == MAX_FILES:
            raise UserError(
                f"{source}: trialCodeDirectory {folder} has more than {MAX_FILES} files, which NNI does not send to "
                "machines; leave some out with a file .nniignore there, written like a .gitignore"
            )


def _ask(machine: Machine, dataset: str | None) -> dict[str, Any] | str:
    """What the machine has, or what is wrong with it, in one line."""
    request = {"dataset": dataset, "environment": dict(machine.environment)}
    script = Path(probe.__file__).read_text(encoding="utf-8") + f"\n\nmain({request!r})\n"
    # With a tunnel that leads nowhere, to see whether the machine allows one.
    tunnel = ["-T", "-oExitOnForwardFailure=yes", "-R", f"127.0.0.1:0:127.0.0.1:{CLOSED_PORT}"]
    command = [*machine.ssh(), *tunnel, machine.host, f"{_quoted(machine.python)} -"]
    try:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise UserError("ssh: not found; install OpenSSH's client") from None
    except subprocess.TimeoutExpired:
        return f"does not answer within {TIMEOUT_S:.0f} s; start it again, or take it out of machineList"
    answers = [line for line in done.stdout.splitlines() if line.startswith(probe.MARK)]
    if not answers:
        return _refusal(done.returncode, done.stderr, machine)
    answer: dict[str, Any] = json.loads(answers[-1].removeprefix(probe.MARK))
    allocated = re.search(r"Allocated port (\d+) for remote forward", done.stderr)
    if allocated and int(allocated[1]) in answer["open_ports"]:
        return "opens tunnels to its network; set GatewayPorts to no or clientspecified in its sshd_config"
    return answer


def _quoted(word: str) -> str:
    """A word for a shell; a leading ``~`` still names the home folder."""
    return f"~/{shlex.quote(word[2:])}" if word.startswith("~/") else shlex.quote(word)


def _refusal(code: int, errors: str, machine: Machine) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip() and "Allocated port" not in line]
    said = lines[-1] if lines else f"exit code {code}"
    if "Permission denied" in errors:
        remedy = "put your public key into its authorized_keys, or name another key with sshKeyFile"
        return f"refuses the key ({said}); {remedy}"
    if "Host key verification failed" in errors:
        by_hand = f"ssh -p {machine.port} {machine.user}@{machine.host}"
        return f"its host key is not the one known here, or none is known; look into it by hand: {by_hand}"
    if "forwarding failed" in errors or "forwarding request" in errors:
        return f"allows no tunnel ({said}); set AllowTcpForwarding to yes or remote in its sshd_config"
    if code == 255:
        return f"does not answer ({said}); start it again, or take it out of machineList"
    return f"cannot run {machine.python} ({said}); set pythonPath to the folder of its Python"


def _differences(answer: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What has to change on a machine, in words."""
    found = []
    if answer["python"] != wanted["python"]:
        found.append(
            f"{answer['executable']} is Python {answer['python']}, here it is {wanted['python']}; "
            "set pythonPath to the folder of the same one"
        )
    missing = [name for name in wanted["versions"] if answer["versions"].get(name) is None]
    others = [
        f"{name} {answer['versions'][name]} (here {version})"
        for name, version in wanted["versions"].items()
        if name not in missing and _public(answer["versions"][name]) != _public(version)
    ]
    if missing or others:
        named = [*(f"{name} missing" for name in missing), *others]
        found.append(
            f"{answer['executable']} has {', '.join(named)}; install the versions of this machine there"
        )
    elif answer["source"] != wanted["source"]:
        found.append("its uxnet-search has other files than the one here; install the same there")
    if not answer["can_write"]:
        found.append("its home folder cannot be written; give the user one")
    data = answer["data"]
    if data and "missing" in data:
        remedy = (
            "copy the data set there, or name its parent: environment: {UXNET_DATA: FOLDER} beside the host"
        )
        found.append(f"the data set is missing ({data['missing']}); {remedy}")
    elif data and data != wanted["data"]:
        found.append(
            f"its data set differs ({data['files']} files, elsewhere {wanted['data']['files']}, or other sizes); "
            "copy the same data set there"
        )
    return found


def _public(version: str | None) -> str | None:
    """A version without what names the build, such as ``+cpu``."""
    return None if version is None else version.partition("+")[0]
