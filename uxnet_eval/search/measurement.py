"""A search by measurement: a strategy proposes networks, and each is trained briefly and scored."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from strategies.ronasmis import explore_with
from strategies.single_path.evolution import draw_at_random, evolve
from strategies.single_path.regression import expected_dice, explore_by_regression
from strategies.single_path.reinforcement import check_packages, reinforce
from strategies.single_path.sampling import Sampler

from ..config.search import FROM_SCRATCH, RunConfig
from ..dataset.msd import Dataset
from ..recipe.precision import resolve_device, resolve_precision
from ..runs.names import CACHE_FOLDER
from ..runs.saved_state import SavedState
from .choosing import Chooser, Explore
from .data import SearchData, Split
from .latencies import latencies_of, network_latencies
from .ronasmis_module import RonasmisModule
from .shared_training import budget_limits, prepare_measurement, train_shared_weights
from .single_path_module import SinglePathModule, fresh_networks

logger = logging.getLogger(__name__)

EXPLORE: dict[str, Explore] = {
    "single-path": evolve,
    "evolution": evolve,
    "random": draw_at_random,
    "regression": explore_by_regression,
    "rl": reinforce,
}
"""How the strategies propose architectures; that of ``ronasmis`` is its trained controller."""


def search_by_measurement(
    config: RunConfig,
    dataset: Dataset,
    split: Split,
    folder: Path,
    events: Path,
    checkpoint: SavedState | None,
    provenance: dict[str, Any],
) -> dict[str, float]:
    """Runs or continues the search; returns the final result.

    Args:
        config: resolved.
        dataset: without the cases that are left out.
        split: the cases to validate on; all others are learned from, by ``ronasmis`` in halves.
        folder: the output folder.
        events: folder of the TensorBoard events.
        checkpoint: to go on from; None: from the start.
        provenance: kept with every genotype.
    """
    if config.search.strategy == "rl":
        check_packages()
    started = time.monotonic()
    settings, runtime = config.search, config.runtime
    device = resolve_device(runtime.device)
    precision = resolve_precision(runtime.precision, device)
    space = config.space_config(dataset.num_channels, dataset.num_classes)
    latencies = None
    if config.choice.measure_latency:
        table = latencies_of(folder, space, config.plan.patch_size, runtime)
        latencies = network_latencies(folder, space, table, runtime)
    module: SinglePathModule | None = None
    if settings.strategy in FROM_SCRATCH:
        limits, budget = budget_limits(config, space, latencies)
        start = fresh_networks(space, supervised=settings.deep_supervision, seed=settings.seed)
        logger.info("%s: every network is trained from random weights on %s", settings.strategy, device)
    else:
        module, limits, budget = prepare_measurement(config, dataset, latencies)
        start = module.shared.network
    if isinstance(module, RonasmisModule):
        explore: Explore = explore_with(module.controller)
    else:
        explore = EXPLORE[settings.strategy]
        split = Split(split.validation, (), (*split.architecture, *split.weights))
    data = SearchData(
        dataset,
        config.plan,
        split,
        steps_per_epoch=settings.steps_per_epoch,
        num_workers=runtime.num_workers,
        seed=settings.seed,
        cache_dir=folder / CACHE_FOLDER,
    )
    spent_minutes = 0.0
    if module is not None:
        spent_minutes = train_shared_weights(
            config, module, data, device, precision, folder, events, checkpoint
        )
    spent_minutes += (time.monotonic() - started) / 60
    chooser = Chooser(
        config,
        data,
        device,
        str(precision),
        folder,
        events,
        budget,
        provenance,
        latencies,
        start=start,
        inherited=module,
        explore=explore,
        expect=expected_dice if settings.strategy == "regression" else None,
    )
    try:
        for share, each in limits.items():
            chooser.choose(share, each, Sampler(space, config.choice.unet_share))
    finally:
        chooser.close()
    return chooser.finish(spent_minutes)
