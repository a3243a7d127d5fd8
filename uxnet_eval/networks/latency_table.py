"""A table of latencies, one per operation, that predicts the latency of a genotype's network."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from pydantic import ConfigDict
from scipy.optimize import nnls
from torch import Tensor, nn

from search_space import Genotype, SearchSpaceConfig, UXNet
from search_space.errors import UserError
from search_space.grid import Layer
from search_space.layers import NormAct, build_operation
from search_space.presets import default_operation, unet_pass_through
from search_space.reading import read_json
from search_space.strict import StrictConfig
from strategies.single_path.sampling import Sampler

from ..runs.files import write_json
from ..runs.record_head import without_head
from .edge_traffic import edge_traffic
from .latency import LatencyMeter

FORMAT, VERSION = "uxnet-latency", 2
ROUNDS = 3
"""Everything is measured so often, in turn, and the shortest time counts: it then does no harm if
the machine is slow for some seconds."""
NUM_FITTED, NUM_CHECKED = 24, 8
"""Whole networks that the prediction is fitted to, and others that it is checked on."""


class LatencyTable(StrictConfig):
    """Latencies of the operations of a space, and how they add up.

    The predicted latency of a network is ``weights`` times (the sum over its layers; the millions
    of values of :func:`.edge_traffic.edge_traffic`; 1). The last stands for the head.
    """

    model_config = ConfigDict(frozen=True)

    machine: dict[str, Any]
    """Where it was measured; see :meth:`.latency.LatencyMeter.machine`."""
    patch_size: tuple[int, ...]
    """Size of the measured patches, in voxels."""
    operations_ms: dict[str, float]
    """Time of each layer with its norm, by :func:`_name`."""
    weights: tuple[float, float, float]
    """Fitted to whole networks, the U-Net among them, by non-negative least squares."""
    checked_ms: tuple[tuple[float, float], ...]
    """Predicted and measured time of networks that were not fitted."""

    @property
    def errors(self) -> list[float]:
        """The relative errors of the predictions in ``checked_ms``."""
        return [abs(predicted / measured - 1) for predicted, measured in self.checked_ms]

    def latency_ms(self, genotype: Genotype, space: SearchSpaceConfig) -> float:
        """The predicted latency of a genotype's network, in ms.

        Raises:
            UserError: if the table lacks an operation, because it is of another space.
        """
        return float(np.dot(self.weights, _columns(genotype, space, self.patch_size, self.operations_ms)))

    def check_machine(self, machine: dict[str, Any], path: Path) -> None:
        """Raises :class:`UserError` if the table was measured on another machine."""
        for name, value in machine.items():
            if self.machine.get(name) != value:
                raise UserError(
                    f"{path}: measured with {name} {self.machine.get(name)!r}, here it is {value!r}; measure anew: "
                    f"uxnet latency {path.parent}"
                )

    def save(self, path: Path) -> None:
        """Writes the table, whole or not at all."""
        write_json(path, {"format": FORMAT, "version": VERSION, **self.model_dump(mode="json")})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LatencyTable:
        """The table in a file.

        Raises :class:`UserError` if it is missing, damaged or of another version.
        """
        path = Path(path)
        try:
            values = read_json(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}); measure anew: uxnet latency {path.parent}"
            ) from None
        foreign = f"not a table of latencies; measure one: uxnet latency {path.parent}"
        values = without_head(values, path, format_name=FORMAT, version=VERSION, foreign=foreign)
        table: LatencyTable = cls.parse(values, str(path))
        return table


def measure_table(
    space: SearchSpaceConfig,
    patch_size: Sequence[int],
    meter: LatencyMeter,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> LatencyTable:
    """Measures every operation of a space, then whole networks to fit and to check the prediction.

    Args:
        space: gives candidates, channels and widths.
        patch_size: of one patch, in voxels.
        meter: measures on the device.
        progress: is told what is measured, and the share that is done, in [0, 1].
    """
    parts, sampler = list(_operations(space)), Sampler(space)
    drawn = [sampler.draw(Random(index)) for index in range(NUM_FITTED + NUM_CHECKED - 1)]
    networks = [sampler.genotype(sampler.unet), *drawn]
    image = meter.features(space.in_channels, patch_size)
    operations_ms: dict[str, float] = {}
    totals_ms = [float("inf")] * len(networks)
    for turn in range(ROUNDS):
        for index, (layer, name, widths) in enumerate(parts):
            if index % 20 == 0:
                progress("operations", (turn + index / len(parts)) / ROUNDS)
            config = space.with_widths(widths)
            module, features = _layer(layer, name, config, patch_size, meter)
            key = _name(layer, name, config)
            taken_ms = meter.latency_ms(module, features)
            operations_ms[key] = min(operations_ms.get(key, taken_ms), taken_ms)
        for index, genotype in enumerate(networks):
            progress("networks", (turn + index / len(networks)) / ROUNDS)
            totals_ms[index] = min(totals_ms[index], meter.latency_ms(UXNet(space, genotype), image))
    columns = [_columns(each, space, patch_size, operations_ms) for each in networks]
    fitted, measured = np.array(columns[:NUM_FITTED]), np.array(totals_ms[:NUM_FITTED])
    # Relative errors: each row is divided by what was measured. The U-Net, the first, weighs as
    # much as all others together, because limits come from it.
    importance = np.sqrt([NUM_FITTED - 1.0] + [1.0] * (NUM_FITTED - 1))
    weights, _ = nnls(fitted * (importance / measured)[:, None], importance)
    checked = zip(np.array(columns[NUM_FITTED:]) @ weights, totals_ms[NUM_FITTED:], strict=True)
    return LatencyTable(
        machine=meter.machine(),
        patch_size=tuple(patch_size),
        operations_ms=operations_ms,
        weights=tuple(weights.tolist()),
        checked_ms=tuple((float(predicted), measured_ms) for predicted, measured_ms in checked),
    )


def _operations(space: SearchSpaceConfig) -> Iterator[tuple[Layer, str, tuple[float, ...]]]:
    """Each operation at each width once.

    Yields a layer that has it, its name, and the widths of all levels.
    """
    seen = set()
    for layer in space.grid.layers:
        levels = {
            layer.node.level,
            layer.node.level + {"reduction": -1, "normal": 0, "expansion": 1}[layer.kind],
        }
        for factors in itertools.product(space.width_choices, repeat=len(levels)):
            chosen = dict(zip(sorted(levels), factors, strict=True))
            widths = tuple(chosen.get(level, 1.0) for level in range(space.levels))
            config = space.with_widths(widths)
            for name in _names(space, layer):
                key = _name(layer, name, config)
                if key not in seen:
                    seen.add(key)
                    yield layer, name, widths


def _names(space: SearchSpaceConfig, layer: Layer) -> list[str]:
    """The operations that a layer may have, those that the space fixes included."""
    names = list(space.layer_candidates(layer))
    if not space.search_blocks:
        names.append(default_operation(layer))
    if not space.search_edges and layer.kind == "normal" and layer.node in unet_pass_through(space.levels):
        names.append("identity")
    return names


def _layer(
    layer: Layer, name: str, config: SearchSpaceConfig, patch_size: Sequence[int], meter: LatencyMeter
) -> tuple[nn.Module, Tensor]:
    """The module of a layer with its norm, and features for it."""
    level = layer.node.level
    source = level + {"reduction": -1, "normal": 0, "expansion": 1}[layer.kind]
    fan_in, fan_out = config.layer_channels(layer)
    strides = config.level_strides
    stride = strides[0] if layer.kind == "normal" else strides[max(level, source)]
    parts = [build_operation(name, fan_in, fan_out, stride)]
    if layer.kind != "expansion" and name != "identity":
        parts.append(NormAct(fan_out, config.spatial_dims))
    size = list(patch_size)
    for each in strides[1 : source + 1]:
        size = [length // step for length, step in zip(size, each, strict=True)]
    return nn.Sequential(*parts), meter.features(fan_in, size)


def _name(layer: Layer, name: str, config: SearchSpaceConfig) -> str:
    fan_in, fan_out = config.layer_channels(layer)
    return f"{layer.kind} at level {layer.node.level}: {name} {fan_in}-{fan_out}"


def _columns(
    genotype: Genotype, space: SearchSpaceConfig, patch_size: Sequence[int], operations_ms: dict[str, float]
) -> tuple[float, float, float]:
    """What the predicted latency is linear in; see :class:`LatencyTable`."""
    config = space.with_widths(genotype.widths)
    try:
        layers_ms = sum(
            operations_ms[_name(layer, name, config)] for layer, name in genotype.operations.items()
        )
    except KeyError as error:
        raise UserError(f"the table of latencies has no {error.args[0]}; it is of another space") from None
    return layers_ms, sum(edge_traffic(genotype, config, patch_size)), 1.0
