"""One contender on one outer fold with one seed: propose, choose, train and score."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_space import Genotype
from search_space.errors import UserError
from strategies.single_path.limits import Limits

from ..config.contest import ContestConfig
from ..dataset.find import find_dataset
from ..dataset.msd import Dataset, read_dataset
from ..nni_guards import (
    TrialLock,
    as_by_hand,
    is_nni_trial,
    next_parameters,
    report_final,
    trial_output,
)
from ..runs.files import full_disk_said, write_json, write_text
from ..runs.folder import choose_output_folder, make_output_folder, open_run_folder
from ..runs.names import FINAL_FOLDER, PROPOSALS_FOLDER, RESULT_NAME, SELECTION_FOLDER
from ..runs.result import read_result
from ..search.latencies import latency_limit, network_latencies
from ..search.single_path_module import anchor_of
from ..training.run import run_training
from .proposals import LEAST_SHARE, OF_THE_SPACE, propose
from .shared_search import latencies_once

logger = logging.getLogger(__name__)

SEARCHES_FOLDER = "searches"
"""Folder beside that of the trials of an experiment, with the searches that they share."""
FINAL_KEYS = ("default", "parameters", "multiply_adds", "search_minutes", "selection_minutes", "minutes")
"""Keys of the final result that NNI gets; ``default`` is the mean Dice of the outer fold."""


def run_contest(
    config_path: Path,
    *,
    output: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    searches: Path | None = None,
) -> Path:
    """Runs or continues one contender and returns the output folder.

    The outer fold scores the final network. Neither search nor choice sees its cases, and the final
    training keeps its last weights, so nothing is chosen on that fold. All trainings have the same
    number of multiply-adds: each network's base channels are set to meet the budget. With
    ``budget.latency_ms`` or ``budget.max_activations``, all keep the base channels of the space
    instead, and none exceeds any of the limits.

    Args:
        config_path: the contest's configuration, YAML.
        output: the output folder; None: that of the configuration; an NNI trial has its own.
        overrides: settings by name.
        searches: folder of searches that several runs share; None: that of the experiment for a
            trial, else the search is this run's own.

    Raises:
        UserError: if the configuration, the data or the output folder is at fault.
    """
    config = ContestConfig.load(config_path).override(next_parameters(), source="the trial's parameters")
    config = config.override(overrides or {}, source="--set")
    folder = choose_output_folder(config.output, output, trial_output())
    shared_folder = searches
    if shared_folder is None and is_nni_trial():
        shared_folder = folder.parent.parent / SEARCHES_FOLDER  # all trials run on one machine
    data = find_dataset(config.dataset, beside=config_path.parent)
    dataset = read_dataset(data)
    limits = contest_limits(config, dataset)
    limits.check()
    if config.budget.limits_time and config.contest.contender not in OF_THE_SPACE:
        raise UserError(
            f"budget: {config.contest.contender} cannot be brought to a latency or to activations; leave the limit "
            f"out, or take one of {', '.join(OF_THE_SPACE)}"
        )
    make_output_folder(folder)
    with full_disk_said(folder), TrialLock(folder):
        open_run_folder(folder, config.to_yaml(), config.defaults(), is_trial=trial_output() is not None)
        if not (folder / RESULT_NAME).exists():
            with as_by_hand():  # the steps within are no trials of their own
                _run(config.model_copy(update={"dataset": str(data)}), folder, limits, shared_folder)
        result = read_result(folder, FINAL_KEYS)
        report_final({name: result[name] for name in FINAL_KEYS})
    logger.info("done: %s", json.dumps(result))
    return folder


def contest_limits(config: ContestConfig, dataset: Dataset) -> Limits:
    """The budget at the search's width; by default the U-Net's multiply-adds and parameters."""
    space = config.space_config(dataset.num_channels, dataset.num_classes)
    free = Limits(space, config.plan.patch_size)
    unet = free.cost(anchor_of(space))
    return Limits(
        space,
        config.plan.patch_size,
        multiply_adds=config.budget.multiply_adds or unet.multiply_adds,
        parameters=config.budget.max_parameters or unet.parameters,
        activations=config.budget.max_activations,
        least_share=LEAST_SHARE,
    )


def _run(config: ContestConfig, folder: Path, limits: Limits, shared_folder: Path | None) -> None:
    contest, table = config.contest, None
    width: dict[str, Any] = {"multiply_adds": round(limits.multiply_adds or 0)}
    if config.budget.limits_time:
        width = {"base_channels": config.space.base_channels}
    if config.budget.latency_ms is not None:
        table = latencies_once(config, limits.config, folder, shared_folder)
        latencies = network_latencies(folder, limits.config, table, config.runtime)
        limits = replace(
            limits,
            latency_ms=latency_limit(config.budget.latency_ms, latencies),
            latency=latencies.expected_ms,
            checked_latency=latencies.measured_ms,
        )
    proposals = propose(config, folder, limits, shared_folder, table)
    if not proposals.architectures:
        raise UserError(
            f"{folder}: the search has no network within the budget; raise num_measured or the budget"
        )
    named = [_named(each, folder, index) for index, each in enumerate(proposals.architectures)]
    selection: list[dict[str, Any]] = []
    if len(named) > 1:
        for index, architecture in enumerate(named):
            logger.info("choosing: training %d of %d on the inner fold", index + 1, len(named))
            result = _train(
                config,
                folder / SELECTION_FOLDER / str(index),
                {"architecture": _found(architecture, folder), **width},
                fold=contest.inner,
                left_out_fold=contest.outer_fold,
                epochs=contest.selection_epochs or config.train.epochs,
            )
            selection.append({**result, "architecture": architecture})
    best = max(range(len(selection)), key=lambda index: selection[index]["default"]) if selection else 0
    final = _train(
        config,
        folder / FINAL_FOLDER,
        {"architecture": _found(named[best], folder), **width},
        fold=contest.outer_fold,
        left_out_fold=None,
        epochs=config.train.epochs,
    )
    search_minutes = 0.0
    if proposals.search_folder is not None:
        search_minutes = read_result(proposals.search_folder, ("search_minutes",))["search_minutes"]
    selection_minutes = sum(each["minutes"] for each in selection)
    # The price of the final network, for comparisons, which look at trainings alone.
    price = {"search_minutes": search_minutes + selection_minutes}
    write_json(folder / FINAL_FOLDER / RESULT_NAME, {**read_result(folder / FINAL_FOLDER), **price})
    write_json(
        folder / RESULT_NAME,
        {
            "default": final["default"],
            "parameters": final["parameters"],
            "multiply_adds": final["multiply_adds"],
            "minutes": final["minutes"],
            "search_minutes": search_minutes,
            "selection_minutes": selection_minutes,
            "contender": contest.contender,
            "outer_fold": contest.outer_fold,
            "inner_fold": contest.inner,
            "seed": contest.seed,
            "architecture": named[best],
            "selection": selection,
        },
    )


def _named(architecture: Genotype | str, folder: Path, index: int) -> str:
    """The name of an architecture in the result.

    A genotype is written to a file, and its name is the path relative to the folder.
    """
    if isinstance(architecture, str):
        return architecture
    name = f"{PROPOSALS_FOLDER}/{index}.json"
    (folder / name).parent.mkdir(exist_ok=True)
    architecture.save(folder / name)
    return name


def _found(name: str, folder: Path) -> str:
    """The name under which a training finds it."""
    return str((folder / name).absolute()) if name.endswith(".json") else name


def _train(
    config: ContestConfig,
    folder: Path,
    network: dict[str, Any],
    *,
    fold: int,
    left_out_fold: int | None,
    epochs: int,
) -> dict[str, Any]:
    train = {
        "fold": fold,
        "left_out_fold": left_out_fold,
        "epochs": epochs,
        "validate_every": epochs,  # at the end alone: the fold that scores must not choose the epoch
        "patience": None,
    }
    folder.parent.mkdir(exist_ok=True)
    path = folder.with_name(f"{folder.name}.run.yml")
    labelled = {"label": config.contest.contender, **network}
    write_text(path, config.training_config(labelled, train).to_yaml())
    run_training(path, output=folder)
    return read_result(folder)
