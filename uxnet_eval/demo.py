"""``uxnet demo``: all steps on generated data, from scans to an architecture and segmentations."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search_space.errors import UserError
from search_space.reading import read_json

from .config.search import RunConfig
from .dataset.demo_data import make_demo_data
from .dataset.msd import read_dataset
from .drawing import draw_genotype_file
from .networks.checkpoint import load_model
from .nni_experiments.launch import launch, stop
from .nni_experiments.progress import wait_until_done
from .nni_experiments.records import find_experiment
from .nni_experiments.shipped import copy_files
from .prediction.folder_prediction import predict_folder
from .prediction.scans import find_scans
from .prediction.windows import WindowSettings
from .runs.names import ARCHITECTURE_NAME, BEST_NAME, CURVES_NAME, GENOTYPE_NAME
from .runs.result import read_result
from .search.export import export_genotype

EXPERIMENT, SEARCH, TRAINING = "demo.yml", "demo.run.yml", "demo.train.run.yml"
DATA = "demo-data"
"""The data's folder, below the demo's, as the shipped configurations name it."""
RUNNING = "experiment"
"""File that names the demo's experiment, so that a second start ends it first."""
QUICK = {"epochs": 2, "steps_per_epoch": 2, "validate_every": 1}
"""Settings of searches and trainings that show only that everything works."""

TABLE_WIDTH = 110
"""Columns of the table where the output is no terminal."""


def run_demo(folder: Path, *, quick: bool = False) -> None:
    """Generates data, runs two NNI trials, exports and draws the better one, and trains it.

    The exported architecture and the U-Net are trained from scratch with equally many
    multiply-adds, side by side, and scored on the held-out cases of one fold. The former then
    predicts one case.

    Args:
        folder: where everything is written.
        quick: a few steps instead of some minutes. The scores then mean nothing.

    Raises:
        UserError: if a step fails.
    """
    _stop_last(folder)
    copy_files([EXPERIMENT, TRAINING], folder.resolve(), folder.resolve(), force=True)
    if quick:
        config = RunConfig.load(folder / SEARCH).override({**QUICK, "warmup_epochs": 1})
        (folder / SEARCH).write_text(config.to_yaml())
    print(f"1/4  Generate scans in {folder / DATA}.")
    make_demo_data(folder / DATA)
    print("2/4  Search: two NNI trials side by side.", flush=True)
    launched = launch(folder / EXPERIMENT, experiment_dir=folder.resolve() / "nni-experiments")
    (folder / RUNNING).write_text(launched.experiment_id)
    wait_until_done(launched.experiment_id)
    print("3/4  Export and draw the architecture of the better trial.")
    genotype, trial = export_genotype(launched.experiment_id)
    genotype.save(folder / GENOTYPE_NAME)
    draw_genotype_file(folder / GENOTYPE_NAME, folder / ARCHITECTURE_NAME)
    assert trial is not None and trial.final is not None
    print("4/4  Train it and the U-Net from scratch, side by side, at equal multiply-adds.", flush=True)
    trained = folder / "trained" / launched.experiment_id
    networks = {"searched": GENOTYPE_NAME, "U-Net": "preset:unet"}
    _train(folder, trained, networks, QUICK if quick else {})
    _predict_one(folder / DATA, folder / "predicted", trained / "searched" / BEST_NAME)
    console = Console()
    if not console.is_terminal:  # 80 columns would cut off the headings
        console = Console(width=TABLE_WIDTH)
    console.print(_comparison(trained, networks))
    print(
        f"\nBetter of two searches: trial {trial.id}, Dice {trial.final['default']:.3f} with all candidates; "
        f"it keeps {len(genotype.edges)} of {len(genotype.grid.edges)} edges.\n"
        f"  architecture  {folder / ARCHITECTURE_NAME}\n"
        f"  genotype      {folder / GENOTYPE_NAME}\n"
        f"  search        {trial.output}\n"
        f"  trainings     {trained}\n"
        f"  a prediction  {folder / 'predicted'}\n"
        f"  web page      {launched.url}\n"
        f"  report        {launched.report_url}"
    )
    if quick:
        print("These were a few steps: the scores mean nothing. The whole demo: uxnet demo")
    print(
        f"Keep the report:    uxnet report {launched.folder}\n"
        f"End the web page:   nnictl stop {launched.experiment_id}\n"
        "Search your scans:  uxnet plan DATA -o mine.run.yml"
    )


def _train(
    folder: Path, trained: Path, networks: Mapping[str, str], settings: Mapping[str, int | float]
) -> None:
    """Trains all networks in parallel processes, whose output goes to ``NAME.log``."""
    trained.mkdir(parents=True, exist_ok=True)
    overrides = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, architecture in networks.items():
            command = [sys.executable, "-m", "uxnet_eval.cli", "train", "--config", TRAINING, *overrides]
            command += ["--architecture", architecture, "--output", str((trained / name).resolve())]
            with (trained / f"{name}.log").open("wb") as log:
                running[name] = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        for name, process in running.items():
            if process.wait() != 0:
                log_text = (trained / f"{name}.log").read_text(errors="replace")
                last_line = (log_text.splitlines() or ["no message"])[-1]
                raise UserError(f"the training of {name} failed: {last_line} (see {trained / f'{name}.log'})")
    finally:
        for process in running.values():
            if process.poll() is None:
                process.terminate()
                process.wait()


def _predict_one(data: Path, output: Path, checkpoint: Path) -> None:
    """Segments the first training case, as ``uxnet predict`` does."""
    model = load_model(checkpoint)
    case = read_dataset(data).cases[0]
    scans = find_scans(case.image, model.dataset.channel_names, model.dataset.spatial_dims)
    outcome = predict_folder(scans, output, {checkpoint: model}, WindowSettings(), overwrite=True)
    for failure in outcome.failures.values():
        raise UserError(failure)


def _comparison(trained: Path, networks: Iterable[str]) -> Table:
    """A row for each trained network: its learning curve, score and cost."""
    curves = {name: read_json(trained / name / CURVES_NAME)["history"] for name in networks}
    epochs = [entry["epoch"] for entry in next(iter(curves.values()))]
    table = Table(
        "network",
        *(f"epoch {epoch}" for epoch in epochs),
        "best",
        "multiply-adds",
        "parameters",
        "minutes",
        title="Dice on the held-out cases of one fold, in the course of the training",
    )
    for name, curve in curves.items():
        result = read_result(trained / name)
        table.add_row(
            name,
            *(f"{entry['val_dice']:.3f}" for entry in curve),
            f"{result['default']:.3f}",
            f"{result['multiply_adds'] / 1e9:.2f} G",
            f"{result['parameters']:,}",
            f"{result['minutes']:.1f}",
        )
    return table


def _stop_last(folder: Path) -> None:
    """Ends the experiment of an earlier demo, whose results stay."""
    if (folder / RUNNING).is_file():
        experiment_id = (folder / RUNNING).read_text()
        try:
            find_experiment(experiment_id)
        except UserError:
            return  # NNI has forgotten it
        stop(experiment_id)
