"""``make demo``: the whole path of a user on generated data, from scans to an architecture."""

from __future__ import annotations

from pathlib import Path

from search_space.errors import UserError

from .demo_data import make_demo_data
from .drawing import draw_genotype_file
from .experiment_progress import report_url, wait_until_done
from .experiments import find_experiment
from .export import export_genotype
from .launch import launch, stop

EXPERIMENT = Path("experiments/demo.yml")
RUNNING = "experiment"
"""File that names the demo's experiment, so that a second start ends it first."""


def run_demo(folder: Path) -> None:
    """Generates data, searches it with two NNI trials, exports and draws the better architecture.

    Args:
        folder: where everything is written; ``experiments/demo.yml`` reads the data from ``demo/data``.

    Raises:
        UserError: if this is not run in the project's folder, or a step fails.
    """
    if not EXPERIMENT.is_file():
        raise UserError(f"{EXPERIMENT}: not found; run the demo in the project's folder")
    folder.mkdir(parents=True, exist_ok=True)
    _stop_last(folder)
    print(f"1/3  generating scans in {folder / 'data'}")
    make_demo_data(folder / "data")
    print(f"2/3  searching with {EXPERIMENT}: two trials, one after the other", flush=True)
    launched = launch(EXPERIMENT, experiment_dir=folder.resolve() / "nni-experiments")
    (folder / RUNNING).write_text(launched.experiment_id)
    print(f"     web UI: {launched.url}  (experiment {launched.experiment_id})", flush=True)
    wait_until_done(launched.experiment_id)
    print("3/3  exporting and drawing the architecture with the best Dice")
    genotype, trial = export_genotype(launched.experiment_id)
    genotype.save(folder / "genotype.json")
    draw_genotype_file(folder / "genotype.json", folder / "architecture.png")
    assert trial is not None and trial.final is not None
    print(
        f"\nThe best of two searches (trial {trial.id}): Dice {trial.final['default']:.3f} of the supernet, "
        f"{len(genotype.edges)} of {len(genotype.grid.edges)} edges kept\n"
        f"  architecture  {folder / 'architecture.png'}\n"
        f"  genotype      {folder / 'genotype.json'}\n"
        f"  search        {trial.output}\n"
        f"  web UI        {launched.url}  (until: nnictl stop {launched.experiment_id})\n"
        f"  report        {report_url(launched.port)}, or at any time: uxnet report {launched.folder}\n"
        "Next: your own scans. uxnet plan DATA -o experiments/mine.run.yml"
    )


def _stop_last(folder: Path) -> None:
    """Ends the experiment of an earlier demo, whose results stay."""
    if (folder / RUNNING).is_file():
        experiment_id = (folder / RUNNING).read_text()
        try:
            find_experiment(experiment_id)
        except UserError:
            return  # NNI has forgotten it
        stop(experiment_id)
