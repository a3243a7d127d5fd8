"""What a user means by "an experiment's id or a folder"."""

from __future__ import annotations

import os
from pathlib import Path

from search_space.errors import UserError

from ..runs.trial_record import Experiment
from ..slurm.record import is_slurm_experiment, read_slurm_experiment
from .records import find_experiment, is_experiment, known_experiments, read_experiment


def find_source(source: str | os.PathLike[str]) -> Experiment | Path:
    """The experiment that ``source`` names, or else the existing folder.

    Args:
        source: an NNI experiment's id or folder, the folder of an experiment on SLURM, or any other
            folder; whether that one holds a run is for the caller to see.

    Raises:
        UserError: if there is no such folder and NNI knows no such experiment, or an experiment's
            database cannot be read.
    """
    folder = Path(source)
    if is_experiment(folder):
        return read_experiment(folder.absolute())
    if is_slurm_experiment(folder):
        return read_slurm_experiment(folder)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{folder}: is a file; give a folder or an NNI experiment's id")
    text = os.fspath(source)
    if text not in known_experiments() and (os.sep in text or text.startswith(".")):
        raise UserError(f"{folder}: no such folder; give that of a run, or an NNI experiment's id")
    return find_experiment(text)
