"""Pictures and report that a search writes at each validation.

An NNI experiment's server hands out the files of ``<experiment>/log`` under ``/logs``. A trial
therefore writes its report there too, and one of all trials so far.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import numpy as np

from search_space.errors import UserError

from ..drawing import draw_search, pixels
from ..nni_experiments.records import is_experiment, read_experiment
from ..nni_guards.door import trial_channel
from ..runs.files import write_bytes
from ..runs.names import LOCAL_TRIALS, LOG_FOLDER, REPORT_NAME
from ..runs.search_record import SearchRecord
from .page import page_html
from .sources import experiment_source, folder_source

logger = logging.getLogger(__name__)

NUM_FILM_CASES = 3
MIN_PAUSE_S = 15.0
"""The report of all trials is written again after this time, or after 20 times as long as it
took."""


def architecture_picture(record: SearchRecord) -> np.ndarray:
    """The drawing of a search's newest state, H x W x 3, uint8."""
    return pixels(draw_search(record))


class LiveReport:
    """Writes the report of a running search into its folder, and to where NNI's server finds it.

    A report that fails must not end a search of hours: it is logged, a bug with its traceback, and
    the search goes on.

    Args:
        folder: the output folder of the search.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.abspath(folder))
        self._log_folder = _experiment_log(self._folder)
        self._cost_s = 0.0
        self._announced = False

    def update(self, *, last: bool = False) -> None:
        """Writes the reports; that of all trials only if it is due or this is the ``last`` time."""
        try:
            self._write(last)
        except (UserError, OSError) as error:  # a full disk
            logger.warning(
                "%s: the report could not be written (%s); the search goes on", self._folder, error
            )
        except Exception:
            logger.exception("%s: the report could not be written; the search goes on", self._folder)

    def _write(self, last: bool) -> None:
        page = page_html(folder_source(self._folder)).encode()
        write_bytes(self._folder / REPORT_NAME, page)
        if self._log_folder is not None:
            write_bytes(self._log_folder / self._served_name, page)
            if last or self._is_due(self._log_folder / REPORT_NAME):
                started = time.monotonic()
                found = experiment_source(read_experiment(self._log_folder.parent))
                write_bytes(self._log_folder / REPORT_NAME, page_html(found).encode())
                self._cost_s = time.monotonic() - started
        if not self._announced:
            self._announce()
            self._announced = True

    @property
    def _served_name(self) -> str:
        return f"report-{self._folder.name}.html"

    def _announce(self) -> None:
        address = served_from()
        if self._log_folder is None or address is None:
            logger.info("report: %s", self._folder / REPORT_NAME)
        else:
            logger.info("report: %s/%s", address, self._served_name)
            logger.info("report of all searches of the experiment: %s/%s", address, REPORT_NAME)

    def _is_due(self, page: Path) -> bool:
        age_s = time.time() - page.stat().st_mtime if page.exists() else float("inf")
        return age_s > max(MIN_PAUSE_S, 20 * self._cost_s)


def served_from() -> str | None:
    """The address of the experiment's log folder at this trial's manager; None outside NNI."""
    channel = trial_channel()
    return None if channel is None else f"{channel[0]}/logs"


def _experiment_log(folder: Path) -> Path | None:
    """The log folder of the NNI experiment whose trial writes to ``folder``; None for any other."""
    if folder.parent.name != LOCAL_TRIALS[-1] or len(folder.parents) < 4:
        return None
    experiment = folder.parents[3]
    return experiment / LOG_FOLDER if is_experiment(experiment) else None
