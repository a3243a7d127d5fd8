"""The parameters of all trials of an experiment, before the first one starts."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from search_space.errors import UserError

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig

TUNERS = ("gridsearch", "random", "batch", "batchtuner")
"""NNI's tuners that wait for no result, in lower case."""


def known_parameters(config: ExperimentConfig, source: str, most: int) -> list[dict[str, Any]]:
    """What NNI's own tuner gives to each trial.

    Args:
        config: checked, see :func:`uxnet_eval.nni_guards.check_experiment_config`.
        source: the beginning of an error message.
        most: trials that the cluster takes in one array.

    Raises:
        UserError: if the tuner waits for results of trials or refuses its settings, or there are
            more than ``most`` trials.
    """
    name = (config.tuner.name if config.tuner else None) or "none"
    if name.lower() not in TUNERS:
        raise UserError(
            f"{source}: tuner {name} waits for results before it chooses, which an array of SLURM jobs cannot; "
            "use GridSearch, Random or Batch"
        )
    wanted, found = config.max_trial_number, list[dict[str, Any]]()
    for parameters in _generated(name, config.tuner.class_args or {}, config.search_space, source):
        if wanted is not None and len(found) >= wanted:
            break
        found.append(json.loads(json.dumps(parameters, default=lambda number: number.item())))  # NumPy's
        if len(found) > most:
            raise UserError(
                f"{source}: more trials than this cluster takes in one array ({most}, MaxArraySize); "
                f"set maxTrialNumber to {most} or less, or split the search space over several experiments"
            )
    return found


def _generated(name: str, arguments: dict[str, Any], space: Any, source: str) -> Iterator[dict[str, Any]]:
    from nni import NoMoreTrialError
    from nni.tools.package_utils.tuner_factory import create_builtin_class_instance

    with _quiet():
        try:
            tuner = create_builtin_class_instance(name, arguments, "tuners")
            tuner.update_search_space(space)
        except Exception as error:  # its validators raise what they like
            raise UserError(
                f"{source}: NNI's tuner {name} refuses its classArgs or the search space: {' '.join(str(error).split())}"
            ) from None
    number = 0
    while True:
        with _quiet():
            try:
                parameters = tuner.generate_parameters(number)
            except NoMoreTrialError:
                return
        yield parameters
        number += 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps NNI's messages on grids and seeds from the terminal."""
    logger = logging.getLogger("nni")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
