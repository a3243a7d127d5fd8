"""What several trials of one experiment need is made once: a search, a table of latencies.

The rows of the paper's table 1 that differ in tau alone come from one search. Each row is a trial
of its own, so the first trial makes the search and the others wait for it.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import torch

from search_space import SearchSpaceConfig

from ..config.contest import ContestConfig
from ..config.search import RunConfig
from ..networks.latency_table import LatencyTable
from ..nni_guards import TrialLock
from ..runs.files import write_text
from ..runs.names import LATENCY_NAME, SEARCH_CONFIG_NAME, SEARCH_FOLDER
from ..search.latencies import latencies_of
from ..search.run import run_search

logger = logging.getLogger(__name__)


def latencies_once(
    config: ContestConfig, space: SearchSpaceConfig, folder: Path, shared_folder: Path | None
) -> LatencyTable:
    """The table of latencies of a contest, measured if there is none.

    Args:
        config: of the contest.
        space: its space.
        folder: output folder of the contest.
        shared_folder: see :func:`search_once`; trials of the same space share a table.
    """
    if config.runtime.num_threads:
        torch.set_num_threads(config.runtime.num_threads)
    if shared_folder is None:
        return latencies_of(folder, space, config.plan.patch_size, config.runtime)
    name = f"{space.model_dump_json()} {config.plan.patch_size} {config.runtime.model_dump_json()}"
    place = shared_folder / f"latency-{_digest(name)}"
    with TrialLock(place, wait_s=float("inf")):
        return latencies_of(place, space, config.plan.patch_size, config.runtime)


def search_once(
    config: RunConfig, folder: Path, shared_folder: Path | None, table: LatencyTable | None = None
) -> Path:
    """Runs or continues a search and returns its output folder.

    Args:
        config: of the search.
        folder: output folder of the contest; the search goes to its folder ``search``.
        shared_folder: folder of the searches of all trials of an experiment. The search goes to a
            folder there, named after its configuration, and trials that need the same one wait for
            it. None: the contest shares its search with nobody.
        table: the contest's table of latencies, which the search takes over; None: it measures its
            own if it needs one.
    """
    if shared_folder is None:
        return _search(config, folder, table)
    place = shared_folder / _digest(config.to_yaml())
    logger.info("the search is shared by all trials that need it: %s", place)
    with TrialLock(place, wait_s=float("inf")):
        return _search(config, place, table)


def _search(config: RunConfig, folder: Path, table: LatencyTable | None) -> Path:
    path, output = folder / SEARCH_CONFIG_NAME, folder / SEARCH_FOLDER
    write_text(path, config.to_yaml())
    if table is not None and not (output / LATENCY_NAME).exists():
        output.mkdir(exist_ok=True)
        table.save(output / LATENCY_NAME)
    return run_search(path, output=output)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
