"""Does a search find edges that are known to matter? ``python -m benchmarks.planted_edge -o results.json``.

The generated images show a half plane in strong noise. Averaging over a large region tells the two
sides apart, so a network without the coarsest level segments them worse. Random networks within the
budget seldom use that level. The joint search of edges, operations and widths should.

A null search is the sanity check: the same evolution, but the measured Dice are random numbers. It
must find the level about as seldom as random networks have it.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from random import Random
from typing import Any

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from search_space import Genotype
from search_space.grid import live_edges
from strategies.single_path.evolution import evolve
from strategies.single_path.limits import Limits
from strategies.single_path.sampling import Sampler
from uxnet_eval.config.search import ChoiceSettings, RunConfig
from uxnet_eval.runs.files import replacing, write_json, write_text
from uxnet_eval.runs.front_record import FrontRecord
from uxnet_eval.runs.names import GENOTYPE_NAME
from uxnet_eval.runs.result import read_result
from uxnet_eval.search.run import run_search
from uxnet_eval.search.shared_training import LEAST_SHARE
from uxnet_eval.search.single_path_module import anchor_of

NUM_CASES, SIZE = 60, (64, 64)
NOISE_SIGMA, NOISE = 1.0, 4.0
"""Width of the noise's correlation in pixels, and its standard deviation; the sides are at -1 and 1."""
MULTIPLY_ADDS = 3_750_000
NUM_RANDOM, NUM_NULL = 100, 20
CONFIG: dict[str, Any] = {
    "plan": {
        "spatial_dims": 2,
        "spacing_mm": [1.0, 1.0],
        "patch_size": list(SIZE),
        "strides": [[2, 2], [2, 2]],
        "batch_size": 4,
        "normalization": "zscore",
        "mirror_axes": [0, 1],
    },
    "space": {
        "base_channels": 8,
        "width_choices": [0.5, 1.0, 1.5],
        "pass_through": True,
        "normal_candidates": ["conv3", "2xconv3"],
    },
    "search": {
        "strategy": "single-path",
        "epochs": 20,
        "steps_per_epoch": 20,
        "validate_every": 20,
        "learning_rate": 0.003,
    },
    "budget": {"multiply_adds": MULTIPLY_ADDS},
    "choice": {
        "budget_shares": [1.0],
        "num_measured": 32,
        "population": 16,
        "finetune_steps": 60,
        "measure_latency": False,
    },
    "runtime": {"num_workers": 0, "num_threads": 1, "device": "cpu"},
}


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image, float32 (64, 64), and its label, uint8: 1 on one side of a random line."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2) * SIZE[0]
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] - (SIZE[0] - 1) / 2
    label = np.cos(angle) * columns + np.sin(angle) * rows > offset
    noise = gaussian_filter(rng.normal(size=SIZE), NOISE_SIGMA, mode="wrap")
    image = 2.0 * label - 1 + NOISE * noise / noise.std()
    return image.astype(np.float32), label.astype(np.uint8)


def make_data(folder: Path) -> Path:
    """The data set in MSD layout, unless it is there."""
    if folder.exists():
        return folder
    with replacing(folder) as part:
        for name in ("imagesTr", "labelsTr"):
            (part / name).mkdir(parents=True)
        training = []
        for index in range(NUM_CASES):
            name = f"planted_{index:03d}.nii.gz"
            for kind, array in zip(("image", "label"), draw(np.random.default_rng([0, index])), strict=True):
                nib.save(nib.Nifti1Image(array, np.eye(4)), part / f"{kind}sTr" / name)
            training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
        description = {
            "name": "Planted",
            "tensorImageSize": "2D",
            "modality": {"0": "generated"},
            "labels": {"0": "background", "1": "half plane"},
            "numTraining": len(training),
            "training": training,
            "test": [],
        }
        (part / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def uses_coarsest(genotype: Genotype) -> bool:
    """Whether a live edge leaves the coarsest level."""
    live = live_edges(genotype.grid, genotype.edges)
    return any(edge.source.level == genotype.levels - 1 for edge in live)


def random_share(sampler: Sampler, limits: Limits) -> float:
    """The share of random architectures within the budget that use the coarsest level."""
    drawn = [sampler.draw(Random(f"random/{index}"), limits.excess) for index in range(NUM_RANDOM)]
    return sum(map(uses_coarsest, drawn)) / NUM_RANDOM


def null_share(sampler: Sampler, limits: Limits, choice: ChoiceSettings) -> float:
    """The share of searches that end with the coarsest level, if every Dice is a random number."""
    found = 0
    for seed in range(NUM_NULL):
        random, scores = Random(f"null/{seed}"), dict[Genotype, float]()

        def measure(genotype: Genotype, random: Random = random, scores: Any = scores) -> float:
            return float(scores.setdefault(genotype, random.random()))

        evolve(
            sampler,
            measure,
            excess=limits.excess,
            num_measured=choice.num_measured,
            population=choice.population,
            seed=seed,
        )
        found += uses_coarsest(max(scores, key=lambda each: scores[each]))
    return found / NUM_NULL


def outcome(folder: Path) -> dict[str, Any]:
    """Whether a search found the coarsest level, and the mean Dice that it measured with and without."""
    genotype = Genotype.load(folder / GENOTYPE_NAME)
    dice: dict[bool, list[float]] = {True: [], False: []}
    for each in FrontRecord.load(folder).candidates():
        dice[uses_coarsest(each.genotype)].append(each.dice)
    return {
        "found": uses_coarsest(genotype),
        "edges": [str(edge) for edge in genotype.edges],
        "dice": read_result(folder)["default"],
        "mean_dice_with": round(float(np.mean(dice[True])), 4) if dice[True] else None,
        "mean_dice_without": round(float(np.mean(dice[False])), 4) if dice[False] else None,
    }


def main() -> None:
    """Searches with one seed after the other and writes what each found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the JSON file of the results")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/planted-edge"), help="folder of data and searches"
    )
    parser.add_argument("--seeds", type=int, default=10, help="number of searches")
    arguments = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    runs: Path = arguments.runs
    data = make_data(runs / "data")
    values = {"dataset": str(data.absolute()), **CONFIG}
    config = RunConfig.parse(values, "planted edge")
    space = config.space_config(1, 2)
    budget = Limits(
        space, config.plan.patch_size, multiply_adds=config.budget.multiply_adds, least_share=LEAST_SHARE
    )
    sampler = Sampler(space)
    result: dict[str, Any] = {
        "multiply_adds": MULTIPLY_ADDS,
        "unet_multiply_adds": budget.cost(anchor_of(space)).multiply_adds,
        "random_share": random_share(sampler, budget),
        "null_share": null_share(sampler, budget, config.choice),
        "searches": [],
    }
    for seed in range(arguments.seeds):
        path = runs / f"seed-{seed}.run.yml"
        write_text(path, config.override({"seed": seed}, "seed").to_yaml())
        result["searches"].append({"seed": seed, **outcome(run_search(path, output=runs / f"seed-{seed}"))})
        write_json(arguments.output, result)
        print(result["searches"][-1], flush=True)
    number = sum(each["found"] for each in result["searches"])
    print(f"found in {number} of {arguments.seeds} searches; random networks: {result['random_share']:.0%}")


if __name__ == "__main__":
    main()
