"""Latencies of whole networks: measured beside the U-Net, and expected from what was measured."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from pathlib import Path

import torch
from torch import nn

from search_space import Genotype, SearchSpaceConfig, UXNet
from search_space.errors import UserError
from search_space.reading import read_json
from search_space.strict import StrictConfig
from strategies.single_path.sampling import Sampler

from ..runs.files import write_json
from ..runs.record_head import without_head
from .latency import LatencyMeter
from .latency_table import LatencyTable

FORMAT, VERSION = "uxnet-network-latencies", 1
ROUNDS = 2
"""A network and the U-Net are measured so often, in turn, and the shortest time of each counts."""
LEAST_KNOWN = 3
"""From so many measured networks on, they correct the predictions of others of their kind."""


class NetworkLatencies:
    """Latencies of a space's networks on one machine.

    The table adds up layers. A search finds networks whose sum is too low, and would so miss its
    limit. Therefore it measures each network that it trains, and what was measured corrects the
    table. Networks with the same number of channels at the finest level share a correction: edges
    copy most values there, and odd numbers of channels make that slow.

    A machine may become slower after the table was measured. So each network is measured beside the
    U-Net, and its latency is the ratio of the two times the U-Net's latency by the table.

    Args:
        table: predicts.
        space: of the networks.
        meter: measures; of the machine of the table.
        path: the file of what was measured. Another process reads it and goes on alike.

    Raises:
        UserError: if the file is damaged, or of another version.
    """

    def __init__(
        self, table: LatencyTable, space: SearchSpaceConfig, meter: LatencyMeter, path: Path
    ) -> None:
        self.table, self.space = table, space
        self._meter, self._path = meter, path
        sampler = Sampler(space)
        self._unet = sampler.genotype(sampler.unet)
        self.unet_ms = table.latency_ms(self._unet, space)
        self._ratios = _load(path) if path.exists() else {}
        self._known_ms: dict[Genotype, float] = {}
        self._log_errors: dict[int, list[float]] = {}  # by channels of the finest level

    def measured_ms(self, genotype: Genotype) -> float:
        """The latency of a genotype's network for one patch, in ms; each is measured once."""
        if genotype not in self._known_ms:
            key = _digest(genotype)
            if key not in self._ratios:
                self._ratios[key] = self._ratio(genotype)
                write_json(self._path, {"format": FORMAT, "version": VERSION, "of_unet": self._ratios})
            self._known_ms[genotype] = self.unet_ms * self._ratios[key]
            predicted_ms = self.table.latency_ms(genotype, self.space)
            errors = self._log_errors.setdefault(self._finest_channels(genotype), [])
            errors.append(math.log(self._known_ms[genotype] / predicted_ms))
        return self._known_ms[genotype]

    def expected_ms(self, genotype: Genotype) -> float:
        """The latency if it was measured; else a cautious prediction, in ms.

        The prediction is the table's. From three measured networks with the same channels at the
        finest level on, it is corrected by their mean error. It is also raised by one standard
        deviation, so that most networks below a limit keep it.
        """
        if genotype in self._known_ms:
            return self._known_ms[genotype]
        predicted_ms = self.table.latency_ms(genotype, self.space)
        errors = self._log_errors.get(self._finest_channels(genotype), [])
        if len(errors) < LEAST_KNOWN:
            return predicted_ms
        return predicted_ms * math.exp(statistics.fmean(errors) + statistics.stdev(errors))

    def _finest_channels(self, genotype: Genotype) -> int:
        return self.space.with_widths(genotype.widths).channels(0)

    def _ratio(self, genotype: Genotype) -> float:
        """The time of a network as a multiple of the U-Net's, both measured now."""
        if genotype == self._unet:
            return 1.0
        with torch.random.fork_rng([]):  # the weights of what is trained next stay the same
            networks: list[nn.Module] = [UXNet(self.space, each) for each in (genotype, self._unet)]
        image = self._meter.features(self.space.in_channels, self.table.patch_size)
        rounds = [[self._meter.latency_ms(each, image) for each in networks] for _ in range(ROUNDS)]
        own_ms, unet_ms = (min(times) for times in zip(*rounds, strict=True))
        return own_ms / unet_ms


class _Stored(StrictConfig):
    """What the file holds."""

    of_unet: dict[str, float]
    """Latency as a multiple of the U-Net's, by digest of the genotype."""


def _load(path: Path) -> dict[str, float]:
    """What a file holds: latencies as multiples of the U-Net's, by digest of the genotype."""
    again = f"delete it, and the networks are measured anew: {path}"
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {again}") from None
    foreign = f"not latencies of networks; {again}"
    values = without_head(values, path, format_name=FORMAT, version=VERSION, foreign=foreign)
    stored: _Stored = _Stored.parse(values, str(path))
    return dict(stored.of_unet)


def _digest(genotype: Genotype) -> str:
    """A name for a genotype's network."""
    content = json.dumps(genotype.model_dump(mode="json", exclude={"provenance"}), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
