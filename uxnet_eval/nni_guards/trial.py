"""Guards inside a trial: its parameters, its results, its output folder.

A trial without a manager (under SLURM) finds its parameters in its folder and leaves its results
there. In a run by hand the functions do nothing, so a search calls them always.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from search_space.errors import UserError

from ..runs.names import LOCAL_TRIALS, TENSORBOARD_FOLDER, UI_TRIALS_FOLDER
from ..runs.trial_folder import TRIAL_VARIABLE, TrialFolder
from .door import open_url, record_source
from .metrics import clean_metrics

logger = logging.getLogger(__name__)

# The channel to the manager and the parameters it recorded, kept because NNI's
# SequentialExecutionEngine and its evaluators put their own in their place while a model runs.
_manager_channel: Any = None
_manager_record: Any = None

_only_reports = False


def is_nni_trial() -> bool:
    """True in a process that NNI's manager started as a trial; False in a run by hand."""
    platform = os.environ.get("NNI_PLATFORM")
    return platform not in (None, "", "standalone", "unittest") and bool(os.environ.get("NNI_TRIAL_JOB_ID"))


def trial_output() -> Path | None:
    """The output folder of the trial that this process is; None in a run by hand."""
    if _only_reports:
        return None
    if is_nni_trial():
        return Path(os.environ["NNI_OUTPUT_DIR"])
    own = TrialFolder.of_process()
    return None if own is None else own.path


@contextlib.contextmanager
def as_by_hand() -> Iterator[None]:
    """A context in which this process is no trial: it reports nothing and takes no parameters."""
    names = [name for name in os.environ if name.startswith("NNI_") or name == TRIAL_VARIABLE]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextlib.contextmanager
def only_reporting() -> Iterator[None]:
    """A context in which a run of this trial takes neither folder nor settings from NNI.

    It only reports to it: NNI's page shows the curves of what is otherwise a run by hand.
    """
    global _only_reports
    _only_reports = True
    try:
        yield
    finally:
        _only_reports = False


def next_parameters(timeout_s: float = 120.0) -> dict[str, Any]:
    """The parameters of this trial; empty in a run by hand.

    NNI 3.0 hands parameters to whichever trial asks first, not to the trial it recorded them for.
    The trial's own record is therefore read back from the manager, and NNI is told to report under
    its ``parameter_id``.

    Args:
        timeout_s: how long to wait for the manager to write the record.

    Raises:
        UserError: if the manager sends nothing or has no record of this trial in time.
    """
    global _manager_channel, _manager_record
    if _only_reports:
        return {}
    if not is_nni_trial():
        own = TrialFolder.of_process()
        return {} if own is None else own.parameters()
    import nni  # deferred: a run by hand needs no NNI
    import nni.trial
    from nni.runtime.trial_command_channel import get_default_trial_command_channel

    handed = nni.get_next_parameter()
    _manager_channel = get_default_trial_command_channel()
    if handed is None:
        raise UserError(
            "NNI's manager closed the channel without sending parameters; see the experiment's log"
        )
    url = _record_url()
    if url is None:
        _manager_record = nni.trial._params
        logger.warning(
            "NNI's manager is out of this trial's reach, so its parameters cannot be checked: with "
            "trialConcurrency above 1 NNI may have swapped them. uxnet export compares them afterwards."
        )
        return dict(handed)
    record = _own_record(url, timeout_s)
    if record["parameter_id"] != nni.trial._params["parameter_id"]:
        logger.warning(
            "NNI handed over the parameters of another trial (%s); running those recorded for this one (%s)",
            dict(handed),
            record["parameters"],
        )
    nni.trial._params = _manager_record = record
    return dict(record["parameters"])


def _record_url() -> str | None:
    """Address of this trial's record; None if the manager is out of reach."""
    source = record_source()
    if source is None:
        return None
    return f"{source[0]}/api/v1/nni/trial-jobs/{os.environ['NNI_TRIAL_JOB_ID']}"


def _own_record(url: str, timeout_s: float) -> dict[str, Any]:
    _, key = record_source() or ("", None)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with open_url(url, key, timeout_s=10) as answer:
                # The manager answers nothing, or 500, until it has stored the trial.
                record = json.loads(json.loads(answer.read() or b"{}")["hyperParameters"][0])
            if {"parameter_id", "parameters"} <= set(record):
                return dict(record)
            fault = "a record without parameters"
        except (urllib.error.URLError, TimeoutError) as error:
            fault = str(error)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            fault = f"no record yet ({error!r})"
        if time.monotonic() > deadline:
            raise UserError(
                f"NNI's manager gave no parameters of this trial at {url} within {timeout_s:.0f} s: {fault}; "
                "see the experiment's log and start it again"
            )
        time.sleep(0.5)


def report_intermediate(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Sends one point of every curve to the web UI, or keeps it, and returns what was sent.

    Report every key from the first report on: the UI offers only those. See :func:`clean_metrics`
    for what becomes of NaN and for the errors.
    """
    cleaned = clean_metrics(metrics)
    if is_nni_trial():
        import nni

        with _channel_to_manager():
            nni.report_intermediate_result(cleaned)
    elif own := TrialFolder.of_process():
        own.report_intermediate(cleaned)
    return cleaned


def report_final(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Sends the final result and returns what was sent.

    It is flat and short, because each key is an axis of the web UI.
    """
    cleaned = clean_metrics(metrics)
    if is_nni_trial():
        import nni

        with _channel_to_manager():
            nni.report_final_result(cleaned)
    elif own := TrialFolder.of_process():
        own.report_final(cleaned)
    return cleaned


@contextlib.contextmanager
def _channel_to_manager() -> Iterator[None]:
    """Makes results go to the manager under this trial's parameters, even within an NNI engine."""
    import nni.trial
    from nni.runtime import trial_command_channel as channels

    current = channels._channel, nni.trial._params
    if _manager_channel is not None:
        channels.set_default_trial_command_channel(_manager_channel)
        nni.trial._params = _manager_record
    try:
        yield
    finally:
        channels._channel, nni.trial._params = current


def resume_intermediate_sequence(num_reported: int) -> None:
    """Makes a resumed trial number its points after ``num_reported``; NNI would start at 0."""
    if is_nni_trial():
        import nni.trial

        nni.trial.overwrite_intermediate_seq(num_reported)
    elif own := TrialFolder.of_process():
        own.keep_intermediates(num_reported)


def link_tensorboard(output_dir: str | os.PathLike[str]) -> Path:
    """The folder to write TensorBoard events to, made such that the web UI's button finds them.

    The UI looks into ``<experiment>/trials/<id>/output/tensorboard``, while a local trial's output
    folder is ``<experiment>/environments/local-env/trials/<id>``: the former becomes a link to the
    latter. If the UI has made its folder already, events go there, and ``tensorboard`` in the
    output folder is the link.

    Args:
        output_dir: the trial's output folder; any folder in a run by hand, or of a trial that is
            :func:`only_reporting`.
    """
    output_dir = Path(os.path.abspath(output_dir))
    events = output_dir / TENSORBOARD_FOLDER
    trial = Path(os.environ["NNI_OUTPUT_DIR"]) if _only_reports and is_nni_trial() else output_dir
    if trial.parent.name != LOCAL_TRIALS[-1] or trial.parents[2].name != LOCAL_TRIALS[0]:
        events.mkdir(parents=True, exist_ok=True)
        return events
    shown = trial.parents[3] / UI_TRIALS_FOLDER / trial.name / "output"
    shown.parent.mkdir(parents=True, exist_ok=True)
    try:
        shown.symlink_to(os.path.relpath(output_dir, shown.parent), target_is_directory=True)
    except FileExistsError:
        if not shown.samefile(output_dir):
            (shown / TENSORBOARD_FOLDER).mkdir(exist_ok=True)
            if not events.exists():
                events.symlink_to(
                    os.path.relpath(shown / TENSORBOARD_FOLDER, output_dir), target_is_directory=True
                )
            return shown / TENSORBOARD_FOLDER
    events.mkdir(parents=True, exist_ok=True)
    return events
