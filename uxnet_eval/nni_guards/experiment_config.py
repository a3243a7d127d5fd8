"""Checks of an nnictl file: refuses what would make NNI hang, flood the machine or fail late."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.errors import UserError, nearest
from search_space.reading import read_yaml

from .trial_run import check_named_files, check_search_space, find_trial_run

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
ENVIRONMENT = "environment"
"""What this project adds to a machine in ``machineList``; NNI would refuse it."""


def check_experiment_config(path: str | os.PathLike[str]) -> ExperimentConfig:
    """NNI's configuration in a YAML file, checked and in canonical form (absolute paths).

    Raises:
        UserError: if the file cannot be read or NNI would refuse it; if GPUs are asked for in a way
            that cannot be met (:func:`check_gpus`); if the tuner is not known; if the search space
            breaks NNI's messages or does not fit the run configuration
            (:func:`check_search_space`); if the run configuration that the trial command names, or
            its data set, is not there.
    """
    from nni.experiment.config import ExperimentConfig, utils  # deferred: slow to import

    path = Path(path)
    values = _read(path)
    machines = _machines(values)
    for machine in machines:
        machine.pop(ENVIRONMENT, None)  # ours, not NNI's
    if machines and not {"nniManagerIp", "nni_manager_ip"} & values.keys():
        values["nniManagerIp"] = LOOPBACK  # where tunnels end; NNI would ask the network for another
    utils.set_base_path(path.absolute().parent)
    try:
        config = ExperimentConfig(**values)
    except (ValueError, TypeError, AttributeError, KeyError, AssertionError) as error:
        raise UserError(f"{path}: NNI refuses it: {_one_line(error)}") from None
    finally:
        utils.unset_base_path()  # NNI's own load() forgets this after an error
    return _checked(config, str(path))


def read_environments(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """The variables of the trials on each machine of ``machineList``: its ``environment``.

    Raises:
        UserError: if the file cannot be read, or these are not names with texts.
    """
    found = []
    for machine in _machines(_read(Path(path))):
        given = machine.get(ENVIRONMENT) or {}
        if not isinstance(given, dict) or not all(
            isinstance(name, str) and name.isidentifier() and isinstance(value, str)
            for name, value in given.items()
        ):
            raise UserError(
                f"{path}: the environment of machine {machine.get('host')} must be names with texts, such as "
                "environment: {UXNET_DATA: /data}; quote numbers"
            )
        found.append(dict(given))
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        values = read_yaml(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give an nnictl configuration") from None
    except ValueError as error:
        raise UserError(f"{path}: not YAML ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values, found {type(values).__name__}")
    return values


def _machines(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The machines in an nnictl file, as far as it is one; NNI takes both spellings."""
    service = values.get("trainingService", values.get("training_service"))
    listed = service.get("machineList", service.get("machine_list")) if isinstance(service, dict) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def check_stored_config(values: Mapping[str, Any], source: str) -> ExperimentConfig:
    """Applies the checks to the configuration that NNI stored with an experiment (JSON)."""
    from nni.experiment.config import ExperimentConfig

    return _checked(ExperimentConfig(**values), source)


def _checked(config: ExperimentConfig, source: str) -> ExperimentConfig:
    # Before NNI validates: its message about useActiveGpu would lead the user into the endless
    # loop.
    services = (
        config.training_service if isinstance(config.training_service, list) else [config.training_service]
    )
    if isinstance(config.trial_concurrency, int):  # else NNI will say what it expects
        if config.trial_concurrency < 1:
            raise UserError(
                f"{source}: trialConcurrency is {config.trial_concurrency}, expected at least 1; no trial would run"
            )
        for service in services:
            if getattr(service, "platform", None) == "local":
                _check_local_gpus(config, service, source)
    try:
        canonical = config.canonical_copy()
    except (ValueError, TypeError, AttributeError, KeyError, AssertionError) as error:
        raise UserError(f"{source}: NNI refuses it: {_one_line(error)}") from None
    for service in services:
        platform = getattr(service, "platform", None)
        if platform not in ("local", "remote") and (
            config.trial_gpu_number or getattr(service, "trial_gpu_number", None)
        ):
            logger.warning(
                "%s: whether platform %s can meet trialGpuNumber is not checked; NNI hangs if it cannot",
                source,
                platform,
            )
    for kind in ("tuner", "assessor"):
        _check_algorithm(getattr(canonical, kind), kind, source)
    run = find_trial_run(canonical, source)
    tuner = canonical.tuner.name or "" if canonical.tuner else ""
    check_search_space(canonical.search_space, run.config if run else None, source, tuner)
    if run is not None:
        check_named_files(canonical.search_space, run, source, tuner)
    return canonical


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def count_gpus() -> int:
    """GPUs as NNI's manager counts them: all that NVIDIA's driver knows, visible or not."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()


def _check_local_gpus(config: ExperimentConfig, service: Any, source: str) -> None:
    from nni.experiment.config.utils import is_missing

    per_trial = service.trial_gpu_number
    if is_missing(per_trial) or per_trial is None:
        per_trial = config.trial_gpu_number
    indices = service.gpu_indices
    if isinstance(indices, str):
        indices = [int(index) for index in indices.split(",")]
    elif isinstance(indices, int):
        indices = [indices]
    if isinstance(per_trial, int) and per_trial > 0:
        check_gpus(
            per_trial,
            concurrency=config.trial_concurrency,
            num_gpus=count_gpus(),
            max_per_gpu=service.max_trial_number_per_gpu,
            use_active=service.use_active_gpu,
            indices=indices,
            source=source,
        )


def check_gpus(
    per_trial: int,
    *,
    concurrency: int,
    num_gpus: int,
    max_per_gpu: int = 1,
    use_active: bool | None = None,
    indices: list[int] | None = None,
    source: str = "trialGpuNumber",
) -> None:
    """Refuses a request for GPUs that NNI's scheduler cannot meet at every moment.

    NNI retries such a request without delay and starts a process with each retry, which exhausts
    the machine's memory within minutes. Its scheduler gives ``per_trial / max_per_gpu`` GPUs to a
    trial, wants that to be less than all GPUs (not at most all), and with ``useActiveGpu: false``
    counts only GPUs that nobody uses at the moment, NNI's own trials among the users.

    Args:
        per_trial: ``trialGpuNumber``, at least 1.
        concurrency: ``trialConcurrency``.
        num_gpus: GPUs of the machine.
        max_per_gpu: ``maxTrialNumberPerGpu``.
        use_active: ``useActiveGpu``; None if it is not given.
        indices: ``gpuIndices``; None: all.
        source: the beginning of an error message.

    Raises:
        UserError: if the request cannot be met.
    """
    without = "leave trialGpuNumber out, then a trial sees all GPUs"
    if num_gpus == 0:
        raise UserError(f"{source}: trialGpuNumber is {per_trial} but this machine has no GPU; {without}")
    if not use_active:
        raise UserError(
            f"{source}: trialGpuNumber needs 'useActiveGpu: true' in trainingService (a GPU in use would hang NNI); "
            f"or {without}"
        )
    usable = range(num_gpus) if indices is None else indices
    absent = [index for index in usable if index not in range(num_gpus)]
    if absent:
        raise UserError(f"{source}: gpuIndices names GPU {absent[0]}; this machine has 0 to {num_gpus - 1}")
    share = per_trial / max_per_gpu
    if share >= num_gpus:
        raise UserError(
            f"{source}: trialGpuNumber {per_trial} on a machine with {num_gpus} GPU(s) hangs NNI, which gives out "
            f"fewer than all GPUs to a trial; {without}, or set trainingService.maxTrialNumberPerGpu to "
            f"{per_trial // num_gpus + 1}"
        )
    # As NNI's scheduler counts: several trials on the emptiest GPU, or whole GPUs.
    per_gpu, whole = math.floor(1.001 / share), math.floor(share + 0.5)
    capacity = len(usable) * per_gpu if share < 1 else len(usable) // whole
    if concurrency > capacity:
        remedy = f"set trialConcurrency to {capacity} or less, or " if capacity else ""
        raise UserError(
            f"{source}: trialConcurrency {concurrency} with trialGpuNumber {per_trial} is more than {len(usable)} "
            f"GPU(s) hold ({capacity} trial(s) at once), which hangs NNI; {remedy}{without}"
        )


def _check_algorithm(algorithm: Any, kind: str, source: str) -> None:
    """With an unknown name NNI starts, reports success and then does nothing."""
    if algorithm is None or algorithm.name is None:
        return
    from nni.tools.package_utils import get_all_algo_meta

    metas = [meta for meta in get_all_algo_meta() if meta.algo_type in (kind, "advisor")]
    known = [name for meta in metas for name in (meta.name, meta.alias) if name]
    if algorithm.name.lower() not in {name.lower() for name in known}:
        raise UserError(
            f"{source}: NNI has no {kind} '{algorithm.name}'{nearest(algorithm.name, known)}; "
            f"there are {', '.join(sorted(known))}"
        )
