"""Guards against defects of NNI 3.0, whose repository is archived.

- ``trial``: parameters that go to the wrong trial, TensorBoard's folder, results.
- ``trial_lock``: trials that go on without their manager.
- ``metrics``: keys and values that break the tuner or the web UI.
- ``messages``: warnings at import, JSON that loses everything after ``//``.
- ``experiment_config``: settings that hang the manager, flood the machine, or die late and quietly.
- ``trial_run``: a search space that does not fit the run which the trials start.
- ``manager``: a web server that is open to the network.
- ``patient_nnictl``: a manager that a busy machine starts too late for nnictl.
"""

from .experiment_config import check_experiment_config, check_stored_config
from .manager import manager_environment, trial_environment
from .messages import keep_urls_in_messages, quiet_nni_import
from .metrics import clean_metrics
from .trial import (
    as_by_hand,
    is_nni_trial,
    link_tensorboard,
    next_parameters,
    only_reporting,
    report_final,
    report_intermediate,
    resume_intermediate_sequence,
    trial_output,
)
from .trial_lock import TrialLock

__all__ = [
    "TrialLock",
    "as_by_hand",
    "check_experiment_config",
    "check_stored_config",
    "clean_metrics",
    "is_nni_trial",
    "keep_urls_in_messages",
    "link_tensorboard",
    "manager_environment",
    "next_parameters",
    "only_reporting",
    "quiet_nni_import",
    "report_final",
    "report_intermediate",
    "resume_intermediate_sequence",
    "trial_environment",
    "trial_output",
]
