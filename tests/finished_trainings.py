"""Output folders of made-up trainings, and of an NNI experiment that holds them, for the tests of what compares them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from search_space import Genotype
from uxnet_eval.evaluation.scores import COLUMNS, summarise

CLASSES = ("anterior", "posterior")


def made_up_training(
    folder: Path,
    architecture: str,
    dice: Mapping[str, Sequence[float | None]],
    *,
    fold: int = 0,
    seed: int = 0,
    epochs: int = 4,
    parameters: int = 1000,
    multiply_adds: int = 5_000_000,
    minutes: float = 10.0,
    label: str | None = None,
    search_minutes: float | None = None,
    network: Mapping[str, Any] | None = None,
    genotype: Genotype | None = None,
    finished: bool = True,
    class_names: Sequence[str] = CLASSES,
    dataset: str = "Toy",
) -> Path:
    """A training whose cases have these Dice, a number for each class (None: the class does not occur).

    ``network`` adds to the settings of that section, whose budget is 1000 parameters.
    """
    folder.mkdir(parents=True)
    settings = {
        "dataset": dataset,
        "network": {"architecture": architecture, "label": label, "parameters": 1000, **(network or {})},
        "train": {"fold": fold, "seed": seed, "epochs": epochs},
    }
    (folder / "run.yml").write_text(yaml.safe_dump(settings))
    folds = {"fold": fold, "num_folds": 1, "split_seed": 0, "folds": [sorted(dice)]}
    (folder / "folds.json").write_text(json.dumps(folds))
    (folder / "training.json").write_text(json.dumps({"history": [{"epoch": 2, "val_dice": 0.5}]}))
    if genotype is not None:
        genotype.save(folder / "genotype.json")
    if not finished:
        return folder
    rows = [
        [case_id, name, value, None if value is None else 2.0, value, 0.0 if value is None else 9.0, 9.0]
        for case_id, values in dice.items()
        for name, value in zip(class_names, values, strict=True)
    ]
    cases = pd.DataFrame(rows, columns=list(COLUMNS))
    cases.to_csv(folder / "cases.csv", index=False)
    result = {
        "default": summarise(cases.astype(dict.fromkeys(COLUMNS[2:], float)))["mean_dice"],
        "architecture": architecture,
        "label": label,
        "fold": fold,
        "seed": seed,
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "minutes": minutes,
        "peak_memory_gib": 1.0 + seed,
    }
    if search_minutes is not None:
        result["search_minutes"] = search_minutes
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def made_up_experiment(folder: Path, trials: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Path:
    """NNI's database of an experiment, whose trials (status and final result by id) have their folders below it."""
    (folder / "db").mkdir(parents=True)
    with sqlite3.connect(folder / "db" / "nni.sqlite") as database:
        for table in (
            "ExperimentProfile (params text, id text, revision integer)",
            "TrialJobEvent (timestamp integer, trialJobId text, event text, data text, sequenceId integer, message text, environmentId text)",
            "MetricData (trialJobId text, parameterId text, type text, sequence integer, data text)",
        ):
            database.execute(f"create table {table}")
        for number, (trial, (status, final)) in enumerate(trials.items()):
            data = json.dumps({"parameter_id": number, "parameters": {"seed": number}})
            insert = "insert into TrialJobEvent values (0, ?, ?, ?, ?, null, null)"
            database.execute(insert, [trial, "WAITING", data, number])
            database.execute(insert, [trial, status, None, None])
            if final:
                packed = json.dumps(json.dumps(dict(final)))
                database.execute(
                    "insert into MetricData values (?, ?, 'FINAL', 0, ?)", [trial, str(number), packed]
                )
    database.close()
    return folder


def trial_folder(experiment: Path, trial: str) -> Path:
    """Where NNI keeps what a local trial writes."""
    return experiment / "environments" / "local-env" / "trials" / trial
