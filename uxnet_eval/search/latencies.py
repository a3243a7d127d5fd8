"""The table of latencies of a search: measured once, and anew on another machine."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch

from search_space import Genotype, SearchSpaceConfig
from search_space.errors import UserError
from strategies.single_path.sampling import Sampler

from ..config.run_file import RuntimeSettings
from ..config.search import RunConfig
from ..dataset.find import find_dataset
from ..dataset.msd import read_dataset
from ..networks.latency import LatencyMeter
from ..networks.latency_table import LatencyTable, measure_table
from ..networks.network_latencies import NetworkLatencies
from ..recipe.precision import resolve_device, resolve_precision
from ..runs.front_record import FrontRecord
from ..runs.names import CONFIG_NAME, LATENCY_NAME, NETWORK_LATENCIES_NAME

logger = logging.getLogger(__name__)

TOLERATED_ERROR = 0.15
"""Median relative error above which the prediction is called unreliable."""


def latencies_of(
    folder: Path, space: SearchSpaceConfig, patch_size: Sequence[int], runtime: RuntimeSettings
) -> LatencyTable:
    """The table in a run's folder; it is measured if there is none.

    Raises:
        UserError: if the table is damaged, or was measured on another machine.
    """
    path = folder / LATENCY_NAME
    if path.exists():
        table = LatencyTable.load(path)
        table.check_machine(_meter(runtime).machine(), path)
        return table
    table = _measured_table(folder, space, patch_size, runtime)
    table.save(path)
    return table


def _measured_table(
    folder: Path, space: SearchSpaceConfig, patch_size: Sequence[int], runtime: RuntimeSettings
) -> LatencyTable:
    """A table that is measured now, and said to be unreliable if it is."""
    started, told = time.monotonic(), [""]

    def progress(what: str, share: float) -> None:
        if what != told[0]:
            told[0] = what
            logger.info("measuring the latency of %s on this machine", what)

    table = measure_table(space, patch_size, _meter(runtime), progress)
    error = statistics.median(table.errors)
    logger.info(
        "latencies: %d operations in %s; predictions of %d whole networks are off by %.0f %% (median), %.0f %% at most",
        len(table.operations_ms),
        timedelta(seconds=round(time.monotonic() - started)),
        len(table.checked_ms),
        100 * error,
        100 * max(table.errors),
    )
    if error > TOLERATED_ERROR:
        logger.warning(
            "the predicted latencies are unreliable; measure them anew while the machine is idle: uxnet latency %s",
            folder,
        )
    return table


def network_latencies(
    folder: Path, space: SearchSpaceConfig, table: LatencyTable, runtime: RuntimeSettings
) -> NetworkLatencies:
    """The latencies of a space's networks; what is measured is kept in a run's folder."""
    return NetworkLatencies(table, space, _meter(runtime), folder / NETWORK_LATENCIES_NAME)


def latency_limit(limit: float | Literal["unet"], latencies: NetworkLatencies) -> float:
    """A limit of latency in ms; ``unet``: the latency that the table predicts for the U-Net.

    Where the space does not offer the U-Net's operation, its first candidate takes the place.

    Raises:
        UserError: with the smallest latency, if no network keeps the limit. It is known in spaces
            that hold the U-Net's edges fixed; elsewhere nothing is checked.
    """
    space, table = latencies.space, latencies.table
    sampler = Sampler(space)
    if limit == "unet":
        logger.info("latency: at most %.3g ms, that of the U-Net", latencies.unet_ms)
        return latencies.unet_ms
    if not sampler.anchors:
        return limit
    narrowest = {f"width/{level}": min(space.width_choices) for level in range(space.levels)}
    choices = {name: values[0] for name, values in sampler.choices.items()} | narrowest
    choices |= {str(edge): 0 for edge in sampler.free_edges}
    for name, values in sampler.choices.items():
        if "/" in name and not name.startswith("width/"):
            choices[name] = min(
                values,
                key=lambda value: table.latency_ms(sampler.genotype({**choices, name: value}), space),
            )
    smallest_ms = table.latency_ms(sampler.genotype(choices), space)
    if smallest_ms > limit:
        raise UserError(
            f"budget: no network of this space needs at most {limit:g} ms; the fastest needs {smallest_ms:.3g} ms; "
            "raise latency_ms, or lower base_channels or the least of width_choices"
        )
    return limit


def measure_anew(
    folder: Path, device: str | None = None, progress: Callable[[float, int], None] = lambda done, total: None
) -> tuple[LatencyTable, FrontRecord]:
    """Measures the latencies of a search on this machine and puts them into its front.

    Args:
        folder: output folder of a search by measurement.
        device: ``auto``, ``cpu`` or ``cuda``; None: as in the search.
        progress: is told how many networks have their latency, and of how many.

    Raises:
        UserError: if the folder holds no such search, or its data set is not found.
    """
    record = FrontRecord.load(folder)
    config = RunConfig.load(folder / CONFIG_NAME)
    runtime = config.runtime if device is None else config.runtime.model_copy(update={"device": device})
    if runtime.num_threads:
        torch.set_num_threads(runtime.num_threads)
    dataset = read_dataset(find_dataset(config.dataset, beside=folder))
    space = config.space_config(dataset.num_channels, dataset.num_classes)
    for name in (LATENCY_NAME, NETWORK_LATENCIES_NAME):
        (folder / name).unlink(missing_ok=True)
    table = _measured_table(folder, space, config.plan.patch_size, runtime)
    latencies = network_latencies(folder, space, table, runtime)
    latency_of = latencies.expected_ms
    if config.budget.latency_ms is not None:
        record.latency_ms = latency_limit(config.budget.latency_ms, latencies)
        latency_of = latencies.measured_ms
    for index, each in enumerate(record.measured):
        latency_ms = latency_of(Genotype.from_dict(each.genotype))
        record.measured[index] = each.model_copy(update={"latency_ms": latency_ms})
        progress(index + 1, len(record.measured))
    record.save(folder)
    table.save(folder / LATENCY_NAME)  # last: without it, the old latencies are not believed
    return table, record


def check_same_machine(folder: Path) -> None:
    """Raises :class:`UserError` if latencies of a search are missing, or of another machine."""
    path = folder / LATENCY_NAME
    if not path.exists():
        raise UserError(
            f"{folder}: the latencies of this search are unknown; measure them: uxnet latency {folder}"
        )
    runtime = RunConfig.load(folder / CONFIG_NAME).runtime
    if runtime.num_threads:
        torch.set_num_threads(runtime.num_threads)
    LatencyTable.load(path).check_machine(_meter(runtime).machine(), path)


def _meter(runtime: RuntimeSettings) -> LatencyMeter:
    device = resolve_device(runtime.device)
    precision = str(resolve_precision(runtime.precision, device))
    return LatencyMeter(device, precision, is_channels_last=runtime.channels_last)
