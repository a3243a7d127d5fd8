"""A search that several trials of one experiment need is made once.

The rows of the paper's table 1 that differ in tau alone come from one search. Each row is a trial
of its own, so the first trial makes the search and the others wait for it.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from ..config.search import RunConfig
from ..nni_guards import TrialLock
from ..runs.files import write_text
from ..runs.names import SEARCH_CONFIG_NAME, SEARCH_FOLDER
from ..search.run import run_search

logger = logging.getLogger(__name__)


def search_once(config: RunConfig, folder: Path, shared_folder: Path | None) -> Path:
    """Runs or continues a search and returns its output folder.

    Args:
        config: of the search.
        folder: output folder of the contest; the search goes to its folder ``search``.
        shared_folder: folder of the searches of all trials of an experiment. The search goes to a
            folder there, named after its configuration, and trials that need the same one wait for
            it. None: the contest shares its search with nobody.
    """
    if shared_folder is None:
        return _search(config, folder)
    place = shared_folder / hashlib.sha256(config.to_yaml().encode()).hexdigest()[:12]
    logger.info("the search is shared by all trials that need it: %s", place)
    with TrialLock(place, wait_s=float("inf")):
        return _search(config, place)


def _search(config: RunConfig, folder: Path) -> Path:
    path = folder / SEARCH_CONFIG_NAME
    write_text(path, config.to_yaml())
    return run_search(path, output=folder / SEARCH_FOLDER)
