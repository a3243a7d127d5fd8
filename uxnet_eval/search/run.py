"""One search, from a run configuration to genotypes; alone or as a trial of NNI."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from search_space import UXNetSpace
from search_space.errors import UserError
from search_space.reading import read_json
from strategies import SparseDARTS
from strategies.finite import Diverged
from strategies.one_shot.relaxation import RelaxedDARTS, RelaxedGumbelDARTS, RelaxedProxyless
from strategies.one_shot.scnas import SCNAS

from ..config.search import RunConfig
from ..dataset.find import find_dataset
from ..dataset.msd import Dataset, read_dataset
from ..nni_guards import (
    TrialLock,
    is_nni_trial,
    link_tensorboard,
    next_parameters,
    report_final,
    trial_output,
)
from ..recipe.checkpoint_files import ReadingState
from ..recipe.continuation import Rates, continue_or_begin, way_on
from ..recipe.deep_supervision import supervised_nodes
from ..recipe.epochs import Validations
from ..recipe.precision import channels_last, resolve_device, resolve_precision
from ..recipe.processes import (
    SameArchitecture,
    check_shareable,
    num_devices,
    own_rank,
    process_settings,
)
from ..recipe.progress import SearchProgress
from ..recipe.quiet import quieten
from ..recipe.tracking import check_tracking, tracked
from ..recipe.trainer import checkpoint_each_epoch, trainer_settings
from ..runs.files import full_disk_said
from ..runs.folder import choose_output_folder, make_output_folder, open_run_folder
from ..runs.names import (
    CACHE_FOLDER,
    CHECKPOINT_NAME,
    CONFIG_NAME,
    FRONT_NAME,
    GENOTYPE_NAME,
    RESULT_NAME,
)
from ..runs.processes import is_helper
from ..runs.result import read_result
from ..runs.saved_state import SavedState
from ..runs.search_record import SearchRecord, named
from .data import SearchData, Split, split_for
from .measurement import search_by_measurement
from .module import SegmentationModule
from .provenance import provenance
from .reporting import SearchReporter

from nni.nas.evaluator.pytorch import Lightning, Trainer  # isort: skip  (after search_space.nni_first)
from nni.nas.execution import SequentialExecutionEngine  # isort: skip
from nni.nas.space import RawFormatModelSpace  # isort: skip

logger = logging.getLogger(__name__)

BY_GRADIENT: dict[str, type[SparseDARTS | RelaxedDARTS]] = {
    "sparse-darts": SparseDARTS,
    "darts": RelaxedDARTS,
    "gumbel": RelaxedGumbelDARTS,
    "proxyless": RelaxedProxyless,
    "scnas": SCNAS,
}
"""The strategies that train a supernet of all candidates; the others measure single networks."""


def run_search(
    config_path: Path,
    *,
    output: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    from_checkpoint: Path | None = None,
) -> Path:
    """Runs or continues one search and returns its output folder.

    In a trial the folder is the trial's and the tuner's parameters override the configuration;
    ``overrides`` come last. A run that was stopped goes on from its last epoch; one that is done is
    left alone.

    Args:
        config_path: the run configuration, YAML.
        output: the output folder; None: that of the configuration.
        overrides: settings by name.
        from_checkpoint: the state of another run to begin with
            (:mod:`uxnet_eval.recipe.continuation`).

    Raises:
        UserError: if the configuration, the data or the output folder is at fault.
    """
    config = RunConfig.load(config_path)
    folder = choose_output_folder(config.output, output, trial_output())
    if is_helper() and is_nni_trial():  # NNI gave the parameters to the process that started this one
        config = RunConfig.load(folder / CONFIG_NAME)
    else:
        config = config.override(next_parameters(), source="the trial's parameters")
        config = config.override(overrides or {}, source="--set")
    dataset = read_dataset(find_dataset(config.dataset, beside=config_path.parent))
    dataset, split = split_for(config, dataset)  # fails before anything is written
    config.space_config(dataset.num_channels, dataset.num_classes)
    device = resolve_device(config.runtime.device)  # before the folder is made this run's
    check_tracking(config.tracking)
    devices = num_devices(config.runtime, device, config.plan.batch_size)
    if devices * config.runtime.num_nodes > 1 and config.search.strategy != "sparse-darts":
        raise UserError(
            f"strategy {config.search.strategy} searches in one process; set devices and num_nodes to 1"
        )
    make_output_folder(folder)
    with full_disk_said(folder), contextlib.nullcontext() if is_helper() else TrialLock(folder):
        checkpoint = open_run_folder(
            folder, config.to_yaml(), config.defaults(), is_trial=trial_output() is not None
        )
        rates = Rates(config.search.weights_rate, config.search.weight_decay)
        checkpoint = continue_or_begin(checkpoint, from_checkpoint, folder, config, rates)
        if (folder / RESULT_NAME).exists():
            result = read_result(folder, ("default",))
            logger.info("%s: this search is done already: %s", folder, json.dumps(result))
            _report_again(folder)
        else:
            search = _search if config.search.strategy in BY_GRADIENT else _search_by_measurement
            values = config.model_dump(mode="json")
            with tracked(config.tracking, folder, dataset.name, values, config.search.epochs):
                search(config, dataset, split, folder, checkpoint)
    return folder


def _report_again(folder: Path) -> None:
    """Reports the result of a search that was killed before it could."""
    result = read_json(folder / RESULT_NAME)
    report_final({name: value for name, value in result.items() if name != "search_minutes"})


class _CheckpointFromTheStart(ModelCheckpoint):
    """Saves before the first epoch too, so that a run stopped in it can be continued."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        assert self.dirpath is not None
        path = Path(self.dirpath) / CHECKPOINT_NAME
        if not trainer.strategy.broadcast(path.exists()):  # all processes save, or none
            trainer.save_checkpoint(path, weights_only=False)


def _search_by_measurement(
    config: RunConfig, dataset: Dataset, split: Split, folder: Path, checkpoint: SavedState | None
) -> None:
    _prepare(config)
    events, origin = link_tensorboard(folder), provenance(config, dataset)
    with _stoppable(folder):
        search_by_measurement(config, dataset, split, folder, events, checkpoint, origin)


def _search(
    config: RunConfig, dataset: Dataset, split: Split, folder: Path, checkpoint: SavedState | None
) -> None:
    settings, runtime = config.search, config.runtime
    _prepare(config)
    device = resolve_device(runtime.device)
    devices = num_devices(runtime, device, config.plan.batch_size)
    precision = resolve_precision(runtime.precision, device)
    space_config = config.space_config(dataset.num_channels, dataset.num_classes)
    space = UXNetSpace(space_config)
    space.checkpointed_levels = settings.checkpointed_levels
    if settings.deep_supervision:
        space.supervise(supervised_nodes(space_config.levels, space_config.grid.nodes))
    if runtime.channels_last:
        space = space.to(memory_format=channels_last(space_config.spatial_dims))
    rank, total = own_rank(runtime, devices)
    check_shareable(space, len(split.validation), total, device)
    data = SearchData(
        dataset,
        config.plan,
        split,
        steps_per_epoch=settings.steps_per_epoch,
        num_workers=runtime.num_workers,
        seed=settings.seed,
        cache_dir=folder / CACHE_FOLDER,
        rank=(rank, total),
    )
    data.setup()
    strategy = BY_GRADIENT[settings.strategy](settings, validation_dataloaders=data.val_dataloader())
    record = SearchRecord(
        levels=space_config.levels,
        spatial_dims=space_config.spatial_dims,
        gates={},
        alphas={},
        fixed_operations=named(space.fixed_operations),
        fixed_edges=named(space.fixed_edges),
        edge_scale=space.edge_scale,
        prune_threshold=strategy.prune_threshold,
        provenance=provenance(config, dataset),
    )
    reporter = SearchReporter(
        strategy, space_config, config.plan, folder, link_tensorboard(folder), record, dataset.class_names
    )
    reading = ReadingState(checkpoint)
    trainer = Trainer(
        max_epochs=settings.epochs,
        **trainer_settings(device, precision, checkpoint),
        **process_settings(runtime, devices, wraps=False),
        callbacks=[
            Validations(settings.validate_every, settings.epochs),
            *([SameArchitecture(lambda: strategy.module.arch_parameters())] if total > 1 else []),
            reporter,
            SearchProgress(settings.steps_per_epoch),
            reading,
            checkpoint_each_epoch(folder, _CheckpointFromTheStart),
        ],
    )
    module = SegmentationModule(
        config.plan,
        dataset.num_classes,
        learning_rate=settings.weights_rate,
        weight_decay=settings.weight_decay,
        num_steps=settings.epochs * settings.steps_per_epoch,
        channels_last=runtime.channels_last,
    )
    evaluator = Lightning(
        module,
        trainer,
        train_dataloaders=data.weights_dataloader(),
        val_dataloaders=data.architecture_dataloader(),
        fit_kwargs={"ckpt_path": checkpoint and checkpoint.path, "weights_only": True},
    )
    logger.info(
        "%s searches %d layers and %d edges on %s (%s), %s; results go to %s",
        settings.strategy,
        len(space.searched_layers),
        len(space.searched_edges),
        device,
        precision,
        f"continued from {checkpoint}" if checkpoint else "from the start",
        folder,
    )
    try:
        with _stoppable(folder), reading:
            strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    finally:
        reporter.close()
    if settings.decide_by == "perturbation":  # every process, since validation is shared
        reporter.decide(trainer)
    if is_helper():
        return
    final = reporter.finish()
    logger.info("done: %s; genotype: %s", json.dumps(final), folder / GENOTYPE_NAME)


def _prepare(config: RunConfig) -> None:
    quieten()
    if config.runtime.num_threads:
        torch.set_num_threads(config.runtime.num_threads)
    pl.seed_everything(config.search.seed, verbose=False)


@contextlib.contextmanager
def _stoppable(folder: Path) -> Iterator[None]:
    """Within it, Ctrl-C says how to go on, and a loss that is not finite is the user's to mend."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # Lightning turns Ctrl-C into an exit
        kept = [folder / name for name in (FRONT_NAME, CHECKPOINT_NAME) if (folder / name).exists()]
        if kept:
            logger.warning("stopped; the same command continues from %s", kept[0])
        else:
            logger.warning("stopped before the first step; the same command starts again")
        raise KeyboardInterrupt from None
    except Diverged as error:
        if is_helper():  # every process meets it; the first one says so
            sys.exit(1)
        raise UserError(f"{folder}: {error}; stopped. {way_on(folder)}") from None
