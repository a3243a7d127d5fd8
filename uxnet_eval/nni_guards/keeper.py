"""Starts NNI's part on another machine, under guard; ``remote.js`` runs this there through ssh.

Reads ``{"launcher": ..., "environment": ...}`` (JSON) from its standard input: NNI's settings of
its "trial keeper", with the address of the manager and a key in it, and variables for the trials.
Prints what NNI's own launcher prints.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import count
from pathlib import Path
from typing import Any

from ..runs.names import LOCAL_TRIALS
from .manager import node_options, trial_environment

KEEPER_SCRIPT = Path(__file__).with_name("keeper.js")


def keeper_folder(launcher: dict[str, Any]) -> Path:
    """A new folder where NNI looks for its keeper; its user alone may read the key in it."""
    environments = Path.home() / "nni-experiments" / launcher["experimentId"] / LOCAL_TRIALS[0]
    for number in count():
        folder = (
            environments / launcher["environmentId"] / ("trial_keeper" + (f"_{number}" if number else ""))
        )
        if not folder.exists():
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("unreachable")


def main() -> None:
    """Starts the keeper, which goes on when this process ends."""
    from nni.tools.nni_manager_scripts import launch_trial_keeper

    given = json.load(sys.stdin)
    os.umask(0o077)
    folder = keeper_folder(given["launcher"])
    (folder / "launcher_config.json").write_text(json.dumps(given["launcher"]))
    os.environ.update(trial_environment())
    os.environ.update(given["environment"])
    os.environ["UXNET_USER_NODE_OPTIONS"] = os.environ.get("NODE_OPTIONS", "")
    os.environ["NODE_OPTIONS"] = node_options(KEEPER_SCRIPT)
    sys.argv = [sys.argv[0], str(folder)]
    launch_trial_keeper.main()


if __name__ == "__main__":
    main()
