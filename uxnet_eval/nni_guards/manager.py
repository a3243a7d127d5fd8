"""The environment that NNI's manager is started in."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

LOOPBACK_SCRIPT = Path(__file__).with_name("loopback.js")


def trial_environment() -> dict[str, str]:
    """Environment variables for a trial, and for what starts it.

    - ``python``, ``uxnet`` and ``tensorboard`` are those beside this interpreter, activated or not.
    - A proxy is not asked for this machine's own addresses.
    """
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    )
    environment["VIRTUAL_ENV"] = sys.prefix  # what the trialCommand of experiments/*.yml looks at first
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, [environment.get(name), "localhost,127.0.0.1"]))
    return environment


def manager_environment(open_to_network: bool = False) -> dict[str, str]:
    """Environment variables for ``nnictl create`` and ``nnictl resume``: a trial's, and a door.

    The web server and TensorBoard listen on 127.0.0.1 alone (``loopback.js``) and want a token that
    is made here, ``UXNET_DOOR_TOKEN`` (``door.js``). NNI has no option for either, and what it
    serves, to anybody, includes every file that the user can read.

    Args:
        open_to_network: all interfaces instead of 127.0.0.1, behind the same token; machines of
            another platform than ``local`` and ``remote`` need it.
    """
    environment = trial_environment()
    environment["UXNET_USER_NODE_OPTIONS"] = environment.get("NODE_OPTIONS", "")
    environment["NODE_OPTIONS"] = node_options(LOOPBACK_SCRIPT)
    environment["UXNET_USER_NETRC"] = environment.get("NETRC", "")
    environment["UXNET_DOOR_TOKEN"] = secrets.token_hex(32)
    environment["UXNET_DOOR_PYTHON"] = sys.executable
    environment["UXNET_DOOR_OPEN"] = "1" if open_to_network else "0"
    return environment


def node_options(script: Path) -> str:
    """``NODE_OPTIONS`` that load a script before all others, after the user's own."""
    quoted = str(script).replace("\\", "\\\\").replace('"', '\\"')
    return f'--require "{quoted}" {os.environ.get("NODE_OPTIONS", "")}'.strip()
