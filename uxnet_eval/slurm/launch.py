"""Starting, resuming, cancelling and watching an experiment on SLURM."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
import shutil
import string
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from search_space.errors import UserError

from ..extras import extra
from ..nni_guards import check_experiment_config
from ..runs.files import write_json
from ..runs.folder import make_output_folder
from ..runs.names import FINAL_NAME, PARAMETERS_NAME
from ..runs.trial_record import best_score, num_ended
from .cluster import cancel as cancel_jobs
from .cluster import max_array_size, own_words, require_cluster
from .parameters import known_parameters
from .record import JOBS_FOLDER, SlurmExperiment, read_slurm_experiment
from .request import SlurmRequest
from .task import State, TrialTask

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig

logger = logging.getLogger(__name__)

SIGNAL = "USR1"
MAX_STOPS = 10_000
"""Time limits that one trial may reach; the task itself ends a trial that gets nowhere."""


def launch(
    config: str | os.PathLike[str], request: SlurmRequest, *, experiment_dir: Path | None = None
) -> SlurmExperiment:
    """Submits the trials of an experiment file as an array of jobs.

    Args:
        config: the nnictl YAML file, of platform ``local``: the cluster takes that place.
        request: the resources of each trial.
        experiment_dir: folder for the experiment's own folder, on a disk that the nodes share;
            None: the file's ``experimentWorkingDirectory``.

    Raises:
        UserError: in one line, if a guard refuses the file, the parameters are not known
            beforehand, or SLURM refuses the array. Then no folder is left.
    """
    extra("submitit", "slurm", "--slurm")
    checked = check_experiment_config(config)
    _check_platform(checked, str(config))
    require_cluster()
    parameters = known_parameters(checked, str(config), max_array_size())
    for setting, value in (("assessor", checked.assessor), ("maxTrialDuration", checked.max_trial_duration)):
        if value is not None:
            logger.warning("%s: %s needs NNI's manager; on SLURM it has no effect", config, setting)
    parent = Path(experiment_dir or checked.experiment_working_directory).absolute()
    folder = parent / "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    make_output_folder(folder)
    experiment = SlurmExperiment(
        folder, checked.json(), request.model_dump(mode="json", exclude_none=True), tuple(parameters)
    )
    for number, values in enumerate(parameters):
        experiment.output(number).mkdir(parents=True)
        write_json(experiment.output(number) / PARAMETERS_NAME, values)
    try:
        return _submit(experiment, request, range(len(parameters)))
    except UserError:
        shutil.rmtree(folder)
        raise


def resume(folder: Path, request: SlurmRequest | None = None) -> SlurmExperiment:
    """Submits again the trials that neither succeeded nor are in the queue.

    They go on from their checkpoints.

    Args:
        folder: the experiment's.
        request: other resources than before; None: the same.

    Raises:
        UserError: if there is nothing to resume, or SLURM refuses.
    """
    extra("submitit", "slurm", "--slurm")
    require_cluster()
    experiment = read_slurm_experiment(folder).with_unrecorded_jobs()
    experiment.save()
    left = [
        trial.sequence
        for trial in experiment.trials()
        if trial.status not in ("SUCCEEDED", "WAITING", "RUNNING")
    ]
    if not left:
        raise UserError(f"{folder}: every trial has succeeded or is in the queue; nothing to resume")
    if request is None:
        request = SlurmRequest.parse(dict(experiment.request), source=str(folder))
    resumed = replace(experiment, request=request.model_dump(mode="json", exclude_none=True))
    states = {number: State.load(resumed.output(number)) for number in left}
    for number, state in states.items():
        replace(state, status="WAITING", note="").save(resumed.output(number))
        (resumed.output(number) / FINAL_NAME).unlink(missing_ok=True)
    try:
        return _submit(resumed, request, left)
    except UserError:
        for number, state in states.items():
            state.save(resumed.output(number))
        experiment.save()
        raise


def cancel(folder: Path) -> int:
    """Ends the trials that wait or run; returns how many. What has ended keeps its result."""
    require_cluster()
    experiment = read_slurm_experiment(folder).with_unrecorded_jobs()
    active = experiment.queue()
    replace(experiment, is_cancelled=True).save()  # first, so that they are not taken for killed
    if active:
        ids = experiment.job_ids()
        cancel_jobs(ids[number] for number in active)
    return len(active)


def wait_until_done(
    experiment: SlurmExperiment, tell: Callable[[str], None], poll_s: float = 5.0
) -> SlurmExperiment:
    """Tells each change of the trials' counts until none waits or runs.

    Ctrl-C ends the watching, not the trials.

    Args:
        experiment: submitted.
        tell: takes a line.
        poll_s: seconds between two questions to SLURM.
    """
    told = ""
    while True:
        trials = experiment.trials()
        running = sum(trial.status == "RUNNING" for trial in trials)
        line = (
            f"{num_ended(trials)} of {len(trials)} trials ended, {running} running, best {best_score(trials)}"
        )
        if line != told:
            tell(line)
            told = line
        if num_ended(trials) == len(trials):
            return experiment
        time.sleep(poll_s)


def _check_platform(config: ExperimentConfig, source: str) -> None:
    service = config.training_service
    if isinstance(service, list) or service.platform != "local":
        raise UserError(
            f"{source}: --slurm takes the place of trainingService; write platform: local in the file"
        )


def _submit(experiment: SlurmExperiment, request: SlurmRequest, numbers: Sequence[int]) -> SlurmExperiment:
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = SIGNAL  # read when submitit is imported, here and in the jobs
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError
    from submitit.slurm.slurm import SlurmJobEnvironment

    SlurmJobEnvironment.USR_SIG = SIGNAL  # in case it was imported before
    executor = submitit.SlurmExecutor(experiment.folder / JOBS_FOLDER, max_num_timeout=MAX_STOPS)
    values = {
        "partition": request.partition,
        "gpus_per_node": request.gpus or None,
        "mem": request.mem,
        "account": request.account,
        "qos": request.qos,
        "constraint": request.constraint,
        "array_parallelism": request.concurrency or len(numbers),
    }
    executor.update_parameters(
        job_name=str(experiment.config.get("experimentName") or "uxnet"),
        time=request.time,
        nodes=1,
        ntasks_per_node=1,
        cpus_per_task=request.cpus,
        signal_delay_s=request.signal,
        srun_args=[f"--cpus-per-task={request.cpus}"],  # srun takes it from sbatch no more
        setup=[f"export SUBMITIT_PREEMPT_SIGNAL={SIGNAL}"],
        additional_parameters={"requeue": True},  # when a node dies or a job of more priority comes
        **{name: value for name, value in values.items() if value is not None},
    )
    service = experiment.config["trainingService"]
    task = TrialTask(
        str(service.get("trialCommand") or experiment.config["trialCommand"]),
        str(service.get("trialCodeDirectory") or experiment.config["trialCodeDirectory"]),
        time_limit_s=60.0 * request.time - request.signal - 60,
        stop_s=0.6 * request.signal,
    )
    replace(experiment, submitting=tuple(numbers)).save()  # the login node may go down before SLURM answers
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it also raises
            jobs = executor.map_array(task, [str(experiment.output(number)) for number in numbers])
    except (FailedJobError, FailedSubmissionError) as error:
        raise UserError(f"SLURM: {own_words(str(error))}") from None
    submitted = experiment.with_jobs({n: str(job.job_id) for n, job in zip(numbers, jobs, strict=True)})
    submitted.save()
    return submitted
