"""``make demo``: the whole path of a user on generated data, from scans to an architecture and its segmentations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search_space.errors import UserError

from .dataset.demo_data import make_demo_data
from .dataset.msd import read_dataset
from .drawing import draw_genotype_file
from .networks.checkpoint import load_model
from .nni_experiments.launch import launch, stop
from .nni_experiments.progress import report_url, wait_until_done
from .nni_experiments.records import find_experiment
from .prediction.folder_prediction import predict_folder
from .prediction.scans import find_scans
from .prediction.windows import WindowSettings
from .runs.names import RESULT_NAME
from .search.export import export_genotype
from .training.run import run_training

EXPERIMENT = Path("experiments/demo.yml")
TRAINING = Path("experiments/demo.train.run.yml")
RUNNING = "experiment"
"""File that names the demo's experiment, so that a second start ends it first."""


def run_demo(folder: Path) -> None:
    """Generates data, searches it with two NNI trials, exports and draws the better architecture, and trains it.

    The exported architecture and the U-Net are trained from scratch with equally many parameters, scored on the held-out cases of one
    fold, and the former predicts one case.

    Args:
        folder: where everything is written; ``experiments/demo.yml`` reads the data from ``demo/data``.

    Raises:
        UserError: if this is not run in the project's folder, or a step fails.
    """
    if not EXPERIMENT.is_file():
        raise UserError(f"{EXPERIMENT}: not found; run the demo in the project's folder")
    folder.mkdir(parents=True, exist_ok=True)
    _stop_last(folder)
    print(f"1/4  generating scans in {folder / 'data'}")
    make_demo_data(folder / "data")
    print(f"2/4  searching with {EXPERIMENT}: two trials at a time", flush=True)
    launched = launch(EXPERIMENT, experiment_dir=folder.resolve() / "nni-experiments")
    (folder / RUNNING).write_text(launched.experiment_id)
    print(f"     web UI: {launched.url}  (experiment {launched.experiment_id})", flush=True)
    wait_until_done(launched.experiment_id)
    print("3/4  exporting and drawing the architecture with the best Dice")
    genotype, trial = export_genotype(launched.experiment_id)
    genotype.save(folder / "genotype.json")
    draw_genotype_file(folder / "genotype.json", folder / "architecture.png")
    assert trial is not None and trial.final is not None
    print("4/4  training it and the U-Net from scratch, with as many parameters", flush=True)
    trained = folder / "trained" / launched.experiment_id
    networks = {"searched": str(folder / "genotype.json"), "U-Net": "preset:unet"}
    for name, architecture in networks.items():
        run_training(TRAINING, output=trained / name, architecture=architecture)
    _predict_one(folder / "data", folder / "predicted", trained / "searched" / "best.pt")
    Console().print(_comparison(trained, networks))
    print(
        f"\nThe best of two searches (trial {trial.id}): Dice {trial.final['default']:.3f} of the supernet, "
        f"{len(genotype.edges)} of {len(genotype.grid.edges)} edges kept\n"
        f"  architecture  {folder / 'architecture.png'}\n"
        f"  genotype      {folder / 'genotype.json'}\n"
        f"  search        {trial.output}\n"
        f"  trainings     {trained}\n"
        f"  a prediction  {folder / 'predicted'}\n"
        f"  web UI        {launched.url}  (until: nnictl stop {launched.experiment_id})\n"
        f"  report        {report_url(launched.port)}, or at any time: uxnet report {launched.folder}\n"
        "Next: your own scans. uxnet plan DATA -o experiments/mine.run.yml"
    )


def _predict_one(data: Path, output: Path, checkpoint: Path) -> None:
    """Segments the first training case, as ``uxnet predict`` does."""
    model = load_model(checkpoint)
    case = read_dataset(data).cases[0]
    scans = find_scans(case.image, model.dataset.channel_names, model.dataset.spatial_dims)
    outcome = predict_folder(scans, output, {checkpoint: model}, WindowSettings(), overwrite=True)
    for failure in outcome.failures.values():
        raise UserError(failure)


def _comparison(trained: Path, networks: Mapping[str, str]) -> Table:
    """A row for each trained network."""
    table = Table(
        "network", "Dice", "parameters", "multiply-adds", "minutes", title="Short trainings, one fold"
    )
    for name in networks:
        result = json.loads((trained / name / RESULT_NAME).read_text())
        table.add_row(
            name,
            f"{result['default']:.3f}",
            f"{result['parameters']:,}",
            f"{result['multiply_adds'] / 1e9:.2f} G",
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
