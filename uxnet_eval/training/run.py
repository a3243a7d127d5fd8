"""One training, from a run configuration to a trained network; alone or as a trial of NNI."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from search_space import Genotype
from search_space.errors import UserError
from strategies.finite import Diverged

from ..architectures.architecture import Architecture
from ..config.training import TrainConfig
from ..dataset.folds import store_folds
from ..evaluation.folders import mean_dice_line, write_evaluation
from ..networks.checkpoint import load_model
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
from ..recipe.epochs import EpochSeeds, Validations
from ..recipe.precision import resolve_device, resolve_precision
from ..recipe.processes import check_shareable, num_devices, own_rank, process_settings
from ..recipe.progress import SearchProgress
from ..recipe.quiet import quieten
from ..recipe.tracking import check_tracking, tracked
from ..recipe.trainer import checkpoint_each_epoch, trainer_settings
from ..report.live import LiveReport
from ..runs.files import full_disk_said, write_json
from ..runs.folder import choose_output_folder, make_output_folder, open_run_folder
from ..runs.names import (
    BEST_NAME,
    CACHE_FOLDER,
    CHECKPOINT_NAME,
    CONFIG_NAME,
    GENOTYPE_NAME,
    LAST_NAME,
    RESULT_NAME,
)
from ..runs.processes import is_helper
from ..runs.result import read_result
from ..runs.saved_state import SavedState
from ..runs.validation_cases import ValidationCases
from .data import TrainData
from .module import TrainModule
from .preparation import Training, prepare
from .reporting import TrainReporter
from .scoring import score_models

logger = logging.getLogger(__name__)

FINAL_KEYS = ("default", "parameters", "multiply_adds", "minutes", "peak_memory_gib")
"""Keys of the final result that NNI gets; ``default`` is the mean Dice of the fold."""


class TrainingDiverged(UserError):
    """Loss, gradient or weights are not finite any more; the last good state is kept."""


def run_training(
    config_path: Path,
    *,
    output: Path | None = None,
    architecture: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    from_checkpoint: Path | None = None,
) -> Path:
    """Trains one network, or continues to, and returns the output folder.

    In a trial the folder is the trial's and the tuner's parameters override the configuration;
    ``architecture`` and ``overrides`` come last. A run that was stopped goes on from its last
    epoch; one that is done is left alone.

    Args:
        config_path: the run configuration, YAML; that of a search will do.
        output: the output folder; None: that of the configuration.
        architecture: in place of the configuration's.
        overrides: settings by name.
        from_checkpoint: the state of another run to begin with
            (:mod:`uxnet_eval.recipe.continuation`).

    Raises:
        UserError: if the configuration, the data or the output folder is at fault.
        TrainingDiverged: see there.
    """
    config, folder = _configuration(config_path, output, architecture, overrides or {})
    training = prepare(config, folder, config_path.parent)
    device = resolve_device(config.runtime.device)
    devices = num_devices(config.runtime, device, config.plan.batch_size)
    check_tracking(config.tracking)
    make_output_folder(folder)
    with full_disk_said(folder), _only_process_of(folder):
        checkpoint = open_run_folder(
            folder, config.to_yaml(), config.defaults(), is_trial=trial_output() is not None
        )
        rates = Rates(config.train.learning_rate, config.train.weight_decay)
        checkpoint = continue_or_begin(checkpoint, from_checkpoint, folder, config, rates)
        if not is_helper():
            split = config.train
            store_folds(
                folder,
                training.dataset,
                fold=split.fold,
                num_folds=split.num_folds,
                seed=split.split_seed,
            )
            _keep_genotype(folder, training.architecture)
        if (folder / RESULT_NAME).exists():
            result = read_result(folder, FINAL_KEYS)
            logger.info("%s: this training is done already: %s", folder, json.dumps(result))
            report_final({name: result[name] for name in FINAL_KEYS})  # in case it was killed before it could
        else:
            values = config.model_dump(mode="json")
            with tracked(config.tracking, folder, training.dataset.name, values, config.train.epochs):
                _train(training, checkpoint, device, devices)
    return folder


def _configuration(
    config_path: Path, output: Path | None, architecture: str | None, overrides: Mapping[str, Any]
) -> tuple[TrainConfig, Path]:
    config = TrainConfig.load(config_path)
    folder = choose_output_folder(config.output, output, trial_output())
    if is_helper() and is_nni_trial():  # NNI gave the parameters to the process that started this one
        return TrainConfig.load(folder / CONFIG_NAME), folder
    config = config.override(next_parameters(), source="the trial's parameters")
    if architecture is not None:
        path = Path(architecture)
        given = str(path.absolute()) if path.suffix == ".json" else architecture
        config = config.override({"architecture": given}, source="--architecture")
    return config.override(overrides, source="--set"), folder


def _train(training: Training, checkpoint: SavedState | None, device: torch.device, devices: int) -> None:
    config, folder, settings = training.config, training.folder, training.config.train
    quieten()
    if config.runtime.num_threads:
        torch.set_num_threads(config.runtime.num_threads)
    pl.seed_everything(settings.seed, verbose=False)
    precision = resolve_precision(config.runtime.precision, device)
    module = training.new_module()
    rank, total = own_rank(config.runtime, devices)
    num_cases = min(settings.validation_cases or len(training.held_out), len(training.held_out))
    check_shareable(module, num_cases, total, device)
    data = TrainData(
        training.dataset,
        config,
        training.learned,
        training.held_out,
        cache_dir=folder / CACHE_FOLDER,
        rank=(rank, total),
    )
    reporter = TrainReporter(
        folder,
        link_tensorboard(folder),
        settings.patience,
        lambda scores: training.save(BEST_NAME, module, scores),
    )
    reading = ReadingState(checkpoint)
    trainer = pl.Trainer(
        max_epochs=_last_epoch(checkpoint, settings.epochs),
        **trainer_settings(device, precision, checkpoint),
        **process_settings(config.runtime, devices, wraps=True),
        callbacks=[
            EpochSeeds(settings.seed),
            Validations(settings.validate_every, settings.epochs),
            reporter,
            SearchProgress(settings.steps_per_epoch, loss="loss"),
            reading,
            checkpoint_each_epoch(folder, ModelCheckpoint),
        ],
    )
    logger.info(
        "training %s (%s base channels, %s parameters, %s multiply-adds per patch) on %s (%s), %s; fold %d: %d cases to "
        "learn from, %d to validate on; results go to %s",
        training.architecture.name,
        f"{training.base_channels:g}",
        f"{training.cost.parameters:,}",
        f"{training.cost.multiply_adds:,}",
        device,
        precision,
        f"continued from {checkpoint}" if checkpoint else "from the start",
        settings.fold,
        len(training.learned),
        len(training.held_out),
        folder,
    )
    try:
        with reading:
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint and checkpoint.path, weights_only=True)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns Ctrl-C into an exit
        if (folder / CHECKPOINT_NAME).exists():
            logger.warning("stopped; the same command continues from %s", folder / CHECKPOINT_NAME)
        raise KeyboardInterrupt from None
    except Diverged as error:
        if is_helper():  # every process meets it; the first one says so
            sys.exit(1)
        raise TrainingDiverged(f"{folder}: {error}; stopped. {way_on(folder)}") from None
    finally:
        reporter.close()
    if trainer.is_global_zero:
        _finish(training, module, data, reporter)


def _finish(training: Training, module: TrainModule, data: TrainData, reporter: TrainReporter) -> None:
    """Saves the last weights, scores the best ones on the whole fold, and reports."""
    folder, config = training.folder, training.config
    minutes, peak_gib = reporter.spent_s / 60, reporter.peak_memory_gib
    newest, best = reporter.history[-1], reporter.best
    assert best is not None
    training.save(LAST_NAME, module, {"val_dice": newest["val_dice"], "epoch": newest["epoch"]})
    model = load_model(folder / BEST_NAME, device=config.runtime.device)
    logger.info("scoring %d cases with the weights of epoch %d", len(training.held_out), best["epoch"])
    dataset, seen = training.dataset, ValidationCases()
    evaluation = score_models([model], data.validation_cases, dataset, config.train.tolerance_mm, seen)
    write_evaluation(evaluation, folder)
    seen.save(folder, dataset.class_names, f"Cases of the fold, weights of epoch {best['epoch']}")
    for message in evaluation.summary["warnings"]:
        logger.warning("%s", message)
    values = (
        evaluation.summary["mean_dice"] or 0.0,
        training.cost.parameters,
        training.cost.multiply_adds,
        minutes,
        peak_gib,
    )
    final = dict(zip(FINAL_KEYS, values, strict=True))
    write_json(
        folder / RESULT_NAME,
        {
            **final,
            "architecture": training.architecture.name,
            "label": config.network.label,
            "base_channels": training.base_channels,
            "fold": config.train.fold,
            "seed": config.train.seed,
            "best_epoch": best["epoch"],
            "num_epochs": newest["epoch"],
            "stopped_early": reporter.stopped_early,
        },
    )
    LiveReport(folder).update(last=True)
    report_final(final)
    logger.info("done: %s; %s", mean_dice_line(evaluation.summary), json.dumps(final))


def _last_epoch(checkpoint: SavedState | None, epochs: int) -> int:
    """Epochs to train in all.

    These are the epochs done if the run was stopping early when it was killed.
    """
    if checkpoint is None:
        return epochs
    state = checkpoint.content
    try:
        stopped_early = state["callbacks"][TrainReporter.__name__]["stopped_early"]
        return int(state["epoch"]) + 1 if stopped_early else epochs
    except (KeyError, TypeError):
        raise UserError(f"{checkpoint}: is no state of a training; give another output folder") from None


def _keep_genotype(folder: Path, architecture: Architecture) -> None:
    """The genotype stays with its results; a run is not continued with another one."""
    path = folder / GENOTYPE_NAME
    if architecture.genotype is None:
        return
    if not path.exists():
        architecture.genotype.save(path)
    elif Genotype.load(path) != architecture.genotype:
        raise UserError(
            f"{path}: the run began with another genotype than {architecture.name} holds now; give another output folder"
        )


def _only_process_of(folder: Path) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext() if is_helper() else TrialLock(folder)
