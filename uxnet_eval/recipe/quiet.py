"""Keeping other libraries' messages off the terminal where they tell a user nothing."""

from __future__ import annotations

import logging
import threading
import warnings

QUIET_LOGGERS = {
    "nni.nas.execution.sequential": logging.CRITICAL,  # logs what it also raises
    "nni.nas.strategy.base": logging.CRITICAL,
    "pytorch_lightning.utilities.rank_zero": logging.WARNING,
}
QUIET_WARNINGS = (
    r"When using training service to spawn trials",  # our loaders never leave this process
    r"Checkpoint directory .* exists and is not empty",  # open_run_folder has checked it
    r"The dirpath has changed from",  # a moved run goes on; its best network is not Lightning's to keep
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own code
    r"Grad strides do not match bucket view strides",  # channels-last weights; the numbers are right
    r"It is recommended to use `self.log\('val_dice'",  # the same number in all processes
    r"The '.*_dataloader' does not have many workers",  # cases are in memory
    r"The `srun` command is available on your system but is not used",  # a run is one process
    r"The number of training batches .* is smaller than the logging interval",
)

QUIET_THREADS = "tensorboard.summary.writer.event_file_writer"
"""Where the threads are from that hand on what they also print: to the next flush of the events."""

_print_fault_of_a_thread = threading.excepthook


def quieten() -> None:
    """Silences messages of NNI and Lightning that do not help a user.

    Errors still come as exceptions.
    """
    for name, level in QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    for message in QUIET_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    threading.excepthook = _fault_of_a_thread


def _fault_of_a_thread(fault: threading.ExceptHookArgs) -> None:
    if type(fault.thread).__module__ != QUIET_THREADS:
        _print_fault_of_a_thread(fault)
