"""Does a short training rank networks as a full one does? ``python -m benchmarks.ranks --help``.

Each network is trained briefly, from random weights or from the shared weights of a search, and
scored on the validation cases of that search. Kendall's tau compares these Dice with those of full
trainings. It also compares what a regression expects, fitted to all networks, or to all but the one
that it ranks.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import kendalltau

from search_space import Genotype
from strategies.single_path.regression import Regression
from uxnet_eval.config.search import RunConfig
from uxnet_eval.config.training import TrainSettings
from uxnet_eval.dataset.find import find_dataset
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.recipe.precision import resolve_device, resolve_precision
from uxnet_eval.runs.files import write_text
from uxnet_eval.runs.names import CONFIG_NAME
from uxnet_eval.search.data import SearchData, Split, split_for
from uxnet_eval.search.shared_training import prepare_measurement
from uxnet_eval.search.short_training import ShortTraining
from uxnet_eval.search.single_path_module import fresh_networks


@dataclass(frozen=True)
class Measuring:
    """How networks are measured.

    Attributes:
        run: output folder of a search, whose data, space and validation cases are used.
        is_shared: start from its shared weights; else from random weights.
        settings: the length and the learning rate of each training.
        seed: of the random weights and of the patches.
        cache: folder for prepared cases.
    """

    run: Path
    is_shared: bool
    settings: TrainSettings
    seed: int
    cache: Path


def measured_dice(measuring: Measuring, genotypes: list[Genotype], results: Path) -> pd.DataFrame:
    """The Dice of each network, written to ``results`` (CSV) one by one; goes on with what is there."""
    config = RunConfig.load(measuring.run / CONFIG_NAME)
    if config.runtime.num_threads:
        torch.set_num_threads(config.runtime.num_threads)
    dataset, split = split_for(config, read_dataset(find_dataset(config.dataset, beside=measuring.run)))
    device = resolve_device(config.runtime.device)
    data = SearchData(
        dataset,
        config.plan,
        Split(split.validation, (), (*split.architecture, *split.weights)),
        steps_per_epoch=config.search.steps_per_epoch,
        num_workers=config.runtime.num_workers,
        seed=config.search.seed + 1000 * measuring.seed,
        cache_dir=measuring.cache,
    )
    precision = str(resolve_precision(config.runtime.precision, device))
    training = ShortTraining(config, data, device, precision)
    if measuring.is_shared:
        module = prepare_measurement(config, dataset).module
        state = torch.load(measuring.run / "checkpoint.ckpt", map_location="cpu", weights_only=True)
        module.load_state_dict(state["state_dict"])
        start = module.shared.network
    else:
        space = config.space_config(dataset.num_channels, dataset.num_classes)
        start = fresh_networks(space, supervised=config.search.deep_supervision, seed=measuring.seed)
    rows = pd.read_csv(results).to_dict("records") if results.exists() else []
    for number in range(len(rows), len(genotypes)):
        dice = training.trained_dice(start(genotypes[number]), measuring.settings)
        rows.append({"network": number, "dice": round(dice, 6)})
        write_text(results, pd.DataFrame(rows).to_csv(index=False))
        print(f"network {number + 1} of {len(genotypes)}: Dice {dice:.4f}", flush=True)
    return pd.DataFrame(rows)


def describe(genotypes: list[Genotype], dice: list[float], trained: list[float]) -> list[str]:
    """Kendall's tau of the measured Dice, and of two regressions on them, with the full trainings."""
    left_out = []
    for at, genotype in enumerate(genotypes):
        others = [number for number in range(len(genotypes)) if number != at]
        regression = Regression([genotypes[each] for each in others], [dice[each] for each in others])
        left_out += regression.predict([genotype])
    measures = {
        "measured": dice,
        "regression on all networks": Regression(genotypes, dice).predict(genotypes),
        "regression on the other networks": left_out,
    }
    found = {name: kendalltau(values, trained) for name, values in measures.items()}
    return [f"{name}: tau {each.statistic:.2f}, p {each.pvalue:.2g}" for name, each in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="output folder of a search by measurement")
    parser.add_argument("genotypes", type=Path, help="a JSON list of genotypes")
    parser.add_argument("--trained", type=Path, help="a CSV: columns network (place in the list), trained")
    parser.add_argument("--shared", action="store_true", help="start from the shared weights of the search")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the CSV to write, or to go on with")
    options = parser.parse_args()
    settings = TrainSettings(epochs=1, steps_per_epoch=options.steps, learning_rate=options.learning_rate)
    genotypes = [Genotype.from_dict(each) for each in json.loads(options.genotypes.read_text())]
    cache = options.output.with_suffix(".cases")
    measuring = Measuring(options.run, options.shared, settings, options.seed, cache)
    measured = measured_dice(measuring, genotypes, options.output)
    if options.trained:
        both = measured.merge(pd.read_csv(options.trained)[["network", "trained"]].dropna(), on="network")
        known = [genotypes[number] for number in both.network]
        print("\n".join(describe(known, list(both.dice), list(both.trained))))


if __name__ == "__main__":
    main()
