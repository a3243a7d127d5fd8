"""The run that a trial command starts, and whether the experiment's search space fits it."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from search_space.errors import UserError

from ..config.contest import ContestConfig
from ..config.run_file import RunFile
from ..config.search import RunConfig
from ..config.training import TrainConfig
from ..dataset.find import find_dataset

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig

BATCH = "batch"
"""NNI's tuner whose search space is a list of parameter sets, in lower case."""


def check_search_space(space: Any, run: RunFile | None, source: str, tuner: str = "") -> None:
    """Refuses a search space that NNI's messages or the run configuration cannot take.

    Args:
        space: as NNI reads it, ``{name: {_type: ..., _value: [...]}}``.
        run: the run configuration that the parameters will override; None: anything goes.
        source: the beginning of an error message.
        tuner: its name; that of ``Batch`` is a list of parameter sets.

    Raises:
        UserError: for ``#`` or ``//`` anywhere (NNI takes the rest for a comment), a faulty entry,
            a name that is no setting, a value that the setting does not allow.
    """
    from nni.common.hpo_utils import validate_search_space

    for text in _texts(space):
        if "#" in text or "//" in text:
            raise UserError(
                f"{source}: search space holds '{text}'; NNI drops what follows '#' or '//', so use neither "
                "(not a path or an address, but a name of your own for it)"
            )
    if tuner.lower() == BATCH:
        for values in _batch(space, source):
            if run is not None:
                run.override(values, source=f"{source}: search space")
        return
    try:
        validate_search_space(space, raise_exception=True)
    except ValueError as error:
        fault = " ".join(str(error).split())
        hint = "; YAML takes 1e-3 for text, write 1.0e-3" if "values :" in fault else ""
        raise UserError(f"{source}: {fault}{hint}") from None
    for name, entry in space.items():
        if not entry["_value"]:
            raise UserError(f"{source}: the search space gives '{name}' no value; write at least one")
    if run is not None:
        for name, entry in space.items():
            for value in _extreme_values(entry["_type"], entry["_value"]):
                run.override({name: value}, source=f"{source}: search space")


def _batch(space: Any, source: str) -> list[dict[str, Any]]:
    """The parameter sets of tuner Batch, each of which is one trial."""
    entries = list(space.values()) if isinstance(space, dict) else []
    entry = entries[0] if len(entries) == 1 and isinstance(entries[0], dict) else {}
    values = entry.get("_value")
    if entry.get("_type") != "choice" or not isinstance(values, list) or not values:
        values = [None]
    if not all(isinstance(each, dict) for each in values):
        raise UserError(
            f"{source}: the search space of tuner Batch is one list of parameter sets, such as "
            "combine_params: {_type: choice, _value: [{seed: 0}, {seed: 1}]}"
        )
    return values


def _texts(value: Any) -> Iterator[str]:
    """Every string in nested lists and mappings, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _extreme_values(kind: str, arguments: list[Any]) -> list[Any]:
    """Example values of an NNI distribution: all of a choice, or ends and median of a range."""
    if kind == "choice":
        return arguments
    if kind == "randint":
        return [arguments[0], arguments[1] - 1]
    if "lognormal" in kind:
        return [math.exp(arguments[0])]
    return arguments[:1] if "normal" in kind else arguments[:2]


class TrialRun(NamedTuple):
    """The run configuration of a trial, its folder, and the folder that the trial runs in.

    ``needs_data`` says whether the data set must be on this machine.
    """

    config: RunFile
    folder: Path
    working_directory: str | os.PathLike[str]
    needs_data: bool = True

    def dataset_here(self) -> Path | None:
        """The data set's folder on this machine, None if it is not there."""
        with _working_directory(self.working_directory):
            try:
                return find_dataset(self.config.dataset, self.folder).absolute()
            except UserError:
                return None


def check_named_files(space: Any, run: TrialRun, source: str, tuner: str = "") -> None:
    """Refuses choices of the search space that name a missing or damaged genotype file."""
    if tuner.lower() == BATCH:
        parameters = _batch(space, source)
    else:
        parameters = [
            {name: value}
            for name, entry in space.items()
            if entry["_type"] == "choice" and any(isinstance(value, str) for value in entry["_value"])
            for value in entry["_value"]
        ]
    with _working_directory(run.working_directory):
        for values in parameters:
            try:
                run.config.override(values).check_files(run.folder, run.needs_data)
            except UserError as error:
                raise UserError(f"{source}: search space: {error}") from None


def find_trial_run(config: ExperimentConfig, source: str) -> TrialRun | None:
    """The run configuration that a trial command names; None if it is not one of ``uxnet``."""
    service = (
        config.training_service[0] if isinstance(config.training_service, list) else config.training_service
    )
    command = service.trial_command or config.trial_command or ""
    needs_data = service.platform != "remote"  # else each machine has its own
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(
            f"{source}: trialCommand is no command of a shell ({error}); mend its quotes"
        ) from None
    starts = [
        index
        for index, word in enumerate(words)
        if Path(word).name == "uxnet" or word.split(".")[0] == "uxnet_eval"
    ]
    commands = (
        {"search", "uxnet_eval.search", "train", "contest"} & set(words[starts[0] :]) if starts else set()
    )
    if not commands:
        return None
    for index, word in enumerate(words):
        given = None
        if word in ("--config", "-c") and index + 1 < len(words):
            given = words[index + 1]
        elif word.startswith("--config="):
            given = word.partition("=")[2]
        if given is not None:
            try:
                with _working_directory(service.trial_code_directory):  # where the trial will run
                    run = _run_file(commands).load(given)
                    run.check_files(Path(given).parent, needs_data)
            except UserError as error:
                raise UserError(f"{source}: trialCommand: {error}") from None
            return TrialRun(run, Path(given).parent, service.trial_code_directory, needs_data)
    raise UserError(f"{source}: trialCommand '{command}' names no run configuration; add --config X.run.yml")


def _run_file(commands: set[str]) -> type[RunFile]:
    """The configuration of the trials' command."""
    if "train" in commands:
        return TrainConfig
    return ContestConfig if "contest" in commands else RunConfig


@contextlib.contextmanager
def _working_directory(folder: str | os.PathLike[str]) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
