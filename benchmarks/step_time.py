"""How long do training steps of random networks take? ``python -m benchmarks.step_time --help``.

Random networks are drawn within the U-Net's multiply-adds and parameters, and others within its
activations too. Steps are timed in processor seconds of this process, so other programs matter
little; the shortest of some steps counts.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch

from search_space import Genotype, UXNet
from search_space.activations import genotype_activations
from strategies.single_path.limits import Limits
from strategies.single_path.sampling import Sampler
from uxnet_eval.config.contest import ContestConfig
from uxnet_eval.contest.run import contest_limits
from uxnet_eval.dataset.find import find_dataset
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.networks.latency import LatencyMeter
from uxnet_eval.recipe.loss import segmentation_loss
from uxnet_eval.recipe.precision import autocast, channels_last, resolve_precision
from uxnet_eval.runs.files import write_json
from uxnet_eval.search.single_path_module import anchor_of

STEPS = 5
DEVICE = torch.device("cpu")


def step_s(genotype: Genotype, limits: Limits, batch_size: int, precision: str) -> float:
    """The processor seconds of a training step, the shortest of some."""
    space = limits.config
    layout = channels_last(space.spatial_dims)
    network = UXNet(space, genotype).to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters())
    size = (batch_size, space.in_channels, *limits.patch_size)
    image = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    label = (image[:, :1] > 0).to(torch.uint8)
    times_s = []
    for _ in range(STEPS):
        started = time.process_time()
        optimizer.zero_grad()
        with autocast(precision, DEVICE):
            logits = network(image)
        segmentation_loss(logits, label).backward()
        optimizer.step()
        times_s.append(time.process_time() - started)
    return min(times_s)


def measured(config: ContestConfig, limits: Limits, number: int) -> dict[str, Any]:
    """Seconds of the U-Net's step, and the ratios of random networks to it, by what is limited."""
    unet, precision = anchor_of(limits.config), resolve_precision(config.runtime.precision, DEVICE)
    sampler = Sampler(limits.config)
    most = genotype_activations(unet, limits.config, limits.patch_size)
    unet_s = step_s(unet, limits, config.plan.batch_size, precision)
    within = {"multiply-adds": limits, "multiply-adds and activations": replace(limits, activations=most)}
    ratios: dict[str, list[float]] = {name: [] for name in within}
    for index in range(number):  # in turn, so that a machine that gets slower harms all alike
        for name, each in within.items():
            genotype = sampler.draw(Random(index), each.excess)
            taken_s = step_s(genotype, limits, config.plan.batch_size, precision)
            ratios[name].append(round(taken_s / unet_s, 3))
            print(f"{name}: {ratios[name][-1]:.2f} times the U-Net's {unet_s:.3f} s", flush=True)
    return {"unet_s": round(unet_s, 4), "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="of a contest, such as dsb2018.contest.run.yml")
    parser.add_argument("--number", type=int, default=15, help="of random networks for each limit")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = ContestConfig.load(options.config)
    dataset = read_dataset(find_dataset(config.dataset, beside=options.config.parent))
    values = measured(config, contest_limits(config, dataset), options.number)
    precision = resolve_precision(config.runtime.precision, DEVICE)
    machine = LatencyMeter(DEVICE, precision, is_channels_last=True).machine()
    write_json(options.output, {"dataset": dataset.name, "machine": machine, **values})
    for name, ratios in values["ratios"].items():
        mean = sum(ratios) / len(ratios)
        print(f"{name}: {mean:.2f} times the U-Net's step ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
