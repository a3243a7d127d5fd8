"""Fetches the files of a trial that ended on another machine; ``remote.js`` runs this.

``python -m uxnet_eval.nni_guards.fetch FOLDER COMMAND...``: the command writes a tar archive.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..runs.names import TENSORBOARD_FOLDER
from .trial import link_tensorboard


def fetch(folder: Path, command: Sequence[str]) -> None:
    """Puts the files that a command sends into a folder, over those of before.

    The sender is not trusted: ``tarfile``'s filter refuses what would lie outside the folder.

    Args:
        folder: of the trial, ``EXPERIMENT/environments/MACHINE/trials/ID``.
        command: its standard output is a tar archive.

    Raises:
        OSError, tarfile.TarError, subprocess.CalledProcessError: if they do not come.
    """
    if any(folder.parents[1].glob("trial_keeper*")):
        return  # both machines see the same disk
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as place:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as sender:
            assert sender.stdout is not None
            with tarfile.open(fileobj=sender.stdout, mode="r|") as archive:
                archive.extractall(place, filter="data")
        if sender.returncode:
            raise subprocess.CalledProcessError(sender.returncode, list(command)[:1])
        shutil.copytree(place, folder, symlinks=True, dirs_exist_ok=True)
    if (folder / TENSORBOARD_FOLDER).is_dir():
        link_tensorboard(folder)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]), sys.argv[2:])
