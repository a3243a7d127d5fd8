"""The training of shared weights, of which every architecture of a space uses a part."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from search_space import SearchSpaceConfig
from search_space.errors import UserError
from strategies.single_path.limits import Limits
from strategies.single_path.sampling import Sampler

from ..config.search import RunConfig
from ..dataset.msd import Dataset
from ..networks.network_latencies import NetworkLatencies
from ..recipe.checkpoint_files import ReadingState
from ..recipe.epochs import Validations
from ..recipe.precision import channels_last
from ..recipe.progress import SearchProgress
from ..recipe.trainer import checkpoint_each_epoch, trainer_settings
from ..runs.saved_state import SavedState
from .data import SearchData
from .latencies import latency_limit
from .ronasmis_module import RonasmisModule
from .single_path_module import SinglePathModule, anchor_of, check_space, shared_weights
from .single_path_reporting import SinglePathReporter

logger = logging.getLogger(__name__)

TRAINED_SHARE = 1.25
"""Architectures of up to this share of the budget's multiply-adds learn, so that the budget is no
edge of what is known."""
LEAST_SHARE = 0.85
"""Architectures below this share of a budget are not measured for it: smaller budgets have their
own."""
NUM_COSTS = 50
"""Random networks whose costs are told if none keeps the limits."""


class Prepared(NamedTuple):
    """A search by measurement with shared weights, before its first step.

    Attributes:
        module: the shared weights.
        limits: those of every share of the budget, the largest share first.
        budget: multiply-adds of one patch.
    """

    module: SinglePathModule
    limits: dict[float, Limits]
    budget: float


def budget_limits(
    config: RunConfig, space: SearchSpaceConfig, latencies: NetworkLatencies | None = None
) -> tuple[dict[float, Limits], float]:
    """The limits of every share of the budget, the largest share first, and the budget.

    Args:
        config: resolved.
        space: its space.
        latencies: on this machine; None: latency is not limited.

    Raises:
        UserError: if no network keeps the limits.
    """
    unlimited = Limits(space, config.plan.patch_size)
    budget = config.budget.multiply_adds or unlimited.cost(anchor_of(space)).multiply_adds
    latency_ms = None
    if config.budget.latency_ms is not None and latencies is not None:
        latency_ms = latency_limit(config.budget.latency_ms, latencies)
    limits = {
        share: replace(
            unlimited,
            multiply_adds=share * budget,
            parameters=config.budget.max_parameters,
            activations=config.budget.max_activations,
            least_share=LEAST_SHARE,
            latency_ms=latency_ms,
            latency=latencies and latencies.expected_ms,
        )
        for share in sorted(config.choice.budget_shares, reverse=True)
    }
    sampler = Sampler(space, config.choice.unet_share)
    for each in limits.values():
        each.check()
        _check_draws(sampler, each)
    return limits, budget


def _check_draws(sampler: Sampler, limits: Limits) -> None:
    """Raises :class:`UserError`, with what networks cost, if no random one keeps the limits."""
    try:
        sampler.draw(Random(0), limits.excess)
    except UserError as error:
        costs = [limits.cost(sampler.draw(Random(number))) for number in range(NUM_COSTS)]
        known = sorted(cost.multiply_adds for cost in costs)
        most = limits.multiply_adds or 0.0
        raise UserError(
            f"budget: no random network of this space was found within the limits: {LEAST_SHARE:.0%} to 100% of "
            f"{most:.3g} multiply-adds, and the others of the section budget; random networks need "
            f"{known[0]:.3g} to {known[-1]:.3g}; change multiply_adds or base_channels"
        ) from error


def prepare_measurement(
    config: RunConfig, dataset: Dataset, latencies: NetworkLatencies | None = None
) -> Prepared:
    """The shared weights of a search, and its limits.

    Args:
        config: resolved; its strategy has shared weights.
        dataset: gives channels and classes.
        latencies: on this machine; None: latency is not limited.

    Raises:
        UserError: if the space does not hold the U-Net, or no network keeps the limits.
    """
    settings, runtime = config.search, config.runtime
    space = config.space_config(dataset.num_channels, dataset.num_classes)
    sampler = Sampler(space, config.choice.unet_share)
    anchor, has_controller = anchor_of(space), settings.strategy == "ronasmis"
    if not has_controller:
        check_space(sampler, anchor)
    unlimited = Limits(space, config.plan.patch_size)
    budget = config.budget.multiply_adds or unlimited.cost(anchor).multiply_adds
    trained = replace(unlimited, multiply_adds=TRAINED_SHARE * budget)
    trained.check()
    limits, budget = budget_limits(config, space, latencies)
    shared = shared_weights(space, supervised=settings.deep_supervision)
    if runtime.channels_last:
        shared = shared.to(memory_format=channels_last(space.spatial_dims))
    common: dict[str, Any] = {
        "paths_per_step": config.choice.paths_per_step,
        "seed": settings.seed,
        "plan": config.plan,
        "num_classes": dataset.num_classes,
        "learning_rate": settings.weights_rate,
        "weight_decay": settings.weight_decay,
        "num_steps": settings.epochs * settings.steps_per_epoch,
        "channels_last": runtime.channels_last,
    }
    if has_controller:
        common["controller_learning_rate"] = config.choice.controller_learning_rate
        common["warmup_epochs"] = settings.warmup_epochs
    else:
        common["sandwich"] = config.choice.sandwich
    kind = RonasmisModule if has_controller else SinglePathModule
    return Prepared(kind(shared, sampler, trained.excess, anchor, **common), limits, budget)


def train_shared_weights(
    config: RunConfig,
    module: SinglePathModule,
    data: SearchData,
    device: torch.device,
    precision: Any,
    folder: Path,
    events: Path,
    checkpoint: SavedState | None,
) -> float:
    """Trains shared weights, or goes on with it; returns the minutes of earlier processes.

    Args:
        config: resolved.
        module: the weights; on the device and in evaluation mode afterwards.
        data: the patches to learn from and the cases to validate on.
        device, precision: where and how it is computed.
        folder: the output folder.
        events: folder of the TensorBoard events.
        checkpoint: to go on from; None: from the start.
    """
    settings = config.search
    has_controller = isinstance(module, RonasmisModule)
    patches: Any = data.weights_dataloader()
    if has_controller:
        patches = {"weights": patches, "architecture": data.architecture_dataloader()}
    reporter = SinglePathReporter(events, "the controller's network" if has_controller else "the U-Net")
    reading = ReadingState(checkpoint)
    trainer = pl.Trainer(
        max_epochs=settings.epochs,
        **trainer_settings(device, precision, checkpoint),
        devices=1,
        gradient_clip_val=settings.gradient_clip_norm,
        callbacks=[
            Validations(settings.validate_every, settings.epochs),
            reporter,
            SearchProgress(settings.steps_per_epoch),
            reading,
            checkpoint_each_epoch(folder, ModelCheckpoint),
        ],
    )
    logger.info(
        "%s: training the weights of a supernet on %s (%s): %d epochs; results go to %s",
        settings.strategy,
        device,
        precision,
        settings.epochs,
        folder,
    )
    try:
        with reading:
            trainer.fit(
                module,
                train_dataloaders=patches,
                val_dataloaders=data.val_dataloader(),
                ckpt_path=checkpoint and checkpoint.path,
                weights_only=True,
            )
    finally:
        reporter.close()
    module.to(device).eval()
    return reporter.spent_minutes
