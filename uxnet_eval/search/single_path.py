"""A search by measurement: training of shared weights, evolution, and short trainings."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from strategies.single_path.limits import Limits
from strategies.single_path.sampling import Sampler

from ..config.search import RunConfig
from ..dataset.msd import Dataset
from ..networks.latency_table import LatencyTable
from ..recipe.epochs import Validations
from ..recipe.precision import channels_last, resolve_device, resolve_precision
from ..recipe.progress import SearchProgress
from ..recipe.trainer import checkpoint_each_epoch, trainer_settings
from ..runs.names import CACHE_FOLDER
from .choosing import Chooser
from .data import SearchData, Split
from .latencies import check_latency, latencies_of
from .single_path_module import SinglePathModule, anchor_of, check_space, shared_weights
from .single_path_reporting import SinglePathReporter

logger = logging.getLogger(__name__)

TRAINED_SHARE = 1.25
"""Architectures of up to this share of the budget's multiply-adds learn, so that the budget is no
edge of what is known."""
LEAST_SHARE = 0.85
"""Architectures below this share of a budget are not measured for it: smaller budgets have their
own."""


class Prepared(NamedTuple):
    """A search by measurement before its first step.

    Attributes:
        module: the shared weights.
        limits: those of every share of the budget, the largest share first.
        budget: multiply-adds of one patch.
    """

    module: SinglePathModule
    limits: dict[float, Limits]
    budget: float


def prepare_measurement(
    config: RunConfig, dataset: Dataset, latencies: LatencyTable | None = None
) -> Prepared:
    """The shared weights of a search, and its limits.

    Args:
        config: resolved.
        dataset: gives channels and classes.
        latencies: measured on this machine; None: latency is not limited.

    Raises:
        UserError: if the space does not hold the U-Net, or no network keeps the limits.
    """
    settings, runtime = config.search, config.runtime
    space = config.space_config(dataset.num_channels, dataset.num_classes)
    sampler, anchor = Sampler(space), anchor_of(space)
    check_space(sampler, anchor)
    unlimited = Limits(space, config.plan.patch_size)
    budget = config.budget.multiply_adds or unlimited.cost(anchor).multiply_adds
    trained = replace(unlimited, multiply_adds=TRAINED_SHARE * budget)
    trained.check()
    limits = {
        share: replace(
            unlimited,
            multiply_adds=share * budget,
            parameters=config.budget.max_parameters,
            least_share=LEAST_SHARE,
            latency_ms=config.budget.latency_ms,
            latency=latencies and partial(latencies.latency_ms, space=space),
        )
        for share in sorted(config.choice.budget_shares, reverse=True)
    }
    for each in limits.values():
        each.check()
    shared = shared_weights(space, supervised=settings.deep_supervision)
    if runtime.channels_last:
        shared = shared.to(memory_format=channels_last(space.spatial_dims))
    module = SinglePathModule(
        shared,
        sampler,
        trained.excess,
        anchor,
        paths_per_step=config.choice.paths_per_step,
        seed=settings.seed,
        plan=config.plan,
        num_classes=dataset.num_classes,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        num_steps=settings.epochs * settings.steps_per_epoch,
        channels_last=runtime.channels_last,
    )
    return Prepared(module, limits, budget)


def search_by_measurement(
    config: RunConfig,
    dataset: Dataset,
    split: Split,
    folder: Path,
    events: Path,
    checkpoint: Path | None,
    provenance: dict[str, Any],
) -> dict[str, float]:
    """Runs or continues the search; returns the final result.

    Args:
        config: resolved.
        dataset: without the cases that are left out.
        split: the cases to validate on; all others are learned from.
        folder: the output folder.
        events: folder of the TensorBoard events.
        checkpoint: to go on from; None: from the start.
        provenance: kept with every genotype.
    """
    started = time.monotonic()
    settings, runtime = config.search, config.runtime
    device = resolve_device(runtime.device)
    precision = resolve_precision(runtime.precision, device)
    latencies = None
    if config.choice.measure_latency:
        space = config.space_config(dataset.num_channels, dataset.num_classes)
        latencies = latencies_of(folder, space, config.plan.patch_size, runtime)
        check_latency(space, latencies, config.budget.latency_ms)
    module, limits, budget = prepare_measurement(config, dataset, latencies)
    data = SearchData(
        dataset,
        config.plan,
        Split(split.validation, (), (*split.architecture, *split.weights)),
        steps_per_epoch=settings.steps_per_epoch,
        num_workers=runtime.num_workers,
        seed=settings.seed,
        cache_dir=folder / CACHE_FOLDER,
    )
    reporter = SinglePathReporter(events)
    trainer = pl.Trainer(
        max_epochs=settings.epochs,
        **trainer_settings(device, precision),
        devices=1,
        gradient_clip_val=settings.gradient_clip_norm,
        callbacks=[
            Validations(settings.validate_every, settings.epochs),
            reporter,
            SearchProgress(settings.steps_per_epoch),
            checkpoint_each_epoch(folder, ModelCheckpoint),
        ],
    )
    logger.info(
        "training the weights of a supernet on %s (%s): %d epochs, networks of up to %s multiply-adds; results go to %s",
        device,
        precision,
        settings.epochs,
        f"{TRAINED_SHARE * budget:.3g}",
        folder,
    )
    try:
        trainer.fit(
            module,
            train_dataloaders=data.weights_dataloader(),
            val_dataloaders=data.val_dataloader(),
            ckpt_path=checkpoint,
            weights_only=True,
        )
    finally:
        reporter.close()
    module.to(device).eval()
    chooser = Chooser(config, module, data, str(precision), folder, budget, provenance, latencies)
    for share, each in limits.items():
        chooser.choose(share, each)
    return chooser.finish((time.monotonic() - started) / 60 + reporter.spent_minutes)
