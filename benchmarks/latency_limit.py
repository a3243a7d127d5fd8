"""Do networks keep the U-Net's latency? ``python -m benchmarks.latency_limit --help``.

Random networks are drawn within the U-Net's latency as the table of layers predicts it. Each is
measured, as a search does, which corrects the predictions. Then others are drawn within the
corrected limit, and measured too.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import fmean

import torch

from strategies.single_path.limits import Limits
from strategies.single_path.sampling import Sampler
from uxnet_eval.config.contest import ContestConfig
from uxnet_eval.contest.run import contest_limits
from uxnet_eval.dataset.find import find_dataset
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.networks.network_latencies import NetworkLatencies
from uxnet_eval.runs.files import write_json
from uxnet_eval.search.latencies import latencies_of, network_latencies


def drawn(limits: Limits, latencies: NetworkLatencies, number: int) -> dict[str, list[dict[str, float]]]:
    """A row for each network, by what the networks were drawn within.

    ``of_limit`` is the measured latency as a multiple of the limit, ``of_table`` as one of the
    table's prediction.
    """
    space, rows = limits.config, {}
    for name in ("the table's prediction", "the corrected prediction"):
        # All are drawn before the first is measured: what is measured changes what is expected.
        genotypes = [Sampler(space).draw(Random(f"{name}/{index}"), limits.excess) for index in range(number)]
        rows[name] = [
            {
                "finest_channels": space.with_widths(each.widths).channels(0),
                "of_limit": round(latencies.measured_ms(each) / latencies.unet_ms, 3),
                "of_table": round(latencies.measured_ms(each) / latencies.table.latency_ms(each, space), 3),
            }
            for each in genotypes
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="of a contest, such as dsb2018.contest.run.yml")
    parser.add_argument("--number", type=int, default=20, help="of random networks for each prediction")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = ContestConfig.load(options.config)
    dataset = read_dataset(find_dataset(config.dataset, beside=options.config.parent))
    limits = contest_limits(config, dataset)
    with tempfile.TemporaryDirectory() as folder:
        table = latencies_of(Path(folder), limits.config, config.plan.patch_size, config.runtime)
        latencies = network_latencies(Path(folder), limits.config, table, config.runtime)
        within = replace(limits, latency_ms=latencies.unet_ms, latency=latencies.expected_ms)
        rows = drawn(within, latencies, options.number)
    write_json(options.output, {"dataset": dataset.name, "machine": table.machine, "networks": rows})
    for name, each in rows.items():
        ratios = [row["of_limit"] for row in each]
        kept = sum(ratio <= 1 for ratio in ratios)
        print(
            f"within {name}: {kept} of {len(each)} keep the limit, the slowest takes {max(ratios):.2f} times as long"
        )
    networks = [row for each in rows.values() for row in each]
    for channels in sorted({row["finest_channels"] for row in networks}):
        errors = [row["of_table"] for row in networks if row["finest_channels"] == channels]
        print(
            f"{channels} channels at the finest level: {fmean(errors):.2f} times the table's prediction ({len(errors)})"
        )


if __name__ == "__main__":
    main()
