"""The other machines of an experiment, after a look at each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..nni_guards.experiment_config import read_environments
from ..nni_guards.trial_run import find_trial_run
from ..remote.check import check_code_folder, check_machines
from ..remote.machines import Machine, listed_machines, load_machines

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig


def new_machines(config: ExperimentConfig, file: str | os.PathLike[str]) -> list[Machine]:
    """The machines that an experiment file lists; none if this machine runs the trials.

    Args:
        config: the checked content of the file.
        file: the experiment file.

    Raises:
        UserError: if a machine does not fit, see :func:`uxnet_eval.remote.check.check_machines`.
    """
    return _checked(listed_machines(config, read_environments(file), str(file)), config, str(file))


def known_machines(config: ExperimentConfig, folder: Path, source: str) -> list[Machine]:
    """The machines of an experiment that is resumed.

    Args:
        config: as NNI stored it, checked.
        folder: the experiment's.
        source: the beginning of an error message.

    Raises:
        UserError: if a machine does not fit any more.
    """
    return _checked(load_machines(folder), config, source)


def _checked(machines: list[Machine], config: ExperimentConfig, source: str) -> list[Machine]:
    if not machines:
        return []
    check_code_folder(Path(config.training_service.trial_code_directory), source)
    run = find_trial_run(config, source)
    dataset, here = (None, None) if run is None else (run.config.dataset, run.dataset_here())
    return check_machines(machines, dataset, here, source)
