"""How long trained networks take for one patch. ``python -m benchmarks.latency --help``.

The networks are measured in turn, several times, so that a machine that gets slower or busy harms
all alike. The shortest time of each counts. Give the network to compare with first.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from uxnet_eval.networks.checkpoint import LoadedModel, load_model
from uxnet_eval.networks.cost import network_cost
from uxnet_eval.networks.latency import LatencyMeter
from uxnet_eval.runs.files import write_json

ROUNDS = 3


def measured(models: dict[str, LoadedModel]) -> list[dict[str, Any]]:
    """A row for each network: its cost, its latency in ms, and that as a share of the first's."""
    shortest: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, model in models.items():
            meter = LatencyMeter(model.device, model.precision, is_channels_last=True)
            image = meter.features(model.dataset.num_channels, model.plan.patch_size)
            shortest[name] = min(shortest.get(name, float("inf")), meter.latency_ms(model.network, image))
    first = next(iter(shortest.values()))
    rows = []
    for name, model in models.items():
        cost = network_cost(model.network, model.plan, model.dataset.num_channels)
        rows.append(
            {
                "network": name,
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds,
                "latency_ms": round(shortest[name], 2),
                "ratio": round(shortest[name] / first, 3),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trainings", type=Path, nargs="+", help="output folders of uxnet train")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = {str(each): load_model(each / "best.pt", options.device) for each in options.trainings}
    one = next(iter(models.values()))
    machine = LatencyMeter(one.device, one.precision, is_channels_last=True).machine()
    rows = measured(models)
    write_json(options.output, {"machine": machine, "networks": rows})
    for row in rows:
        print(
            f"{row['network']}: {row['multiply_adds']:,} multiply-adds, {row['latency_ms']:.1f} ms, "
            f"{row['ratio']:.2f} of the first"
        )


if __name__ == "__main__":
    main()
