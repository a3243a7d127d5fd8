"""``uxnet demo``: ``uxnet auto`` on generated data, from scans to a segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_space.errors import UserError

from .auto.fitting import TooFewHours
from .auto.planning import schedule_yaml
from .auto.record import AutoRecord, open_record
from .auto.run import run_auto
from .auto.schedule import Schedule
from .dataset.demo_data import make_demo_data
from .dataset.msd import read_dataset
from .networks.checkpoint import load_model
from .prediction.folder_prediction import predict_folder
from .prediction.scans import find_scans
from .prediction.windows import WindowSettings
from .runs.files import write_text
from .runs.folder import make_output_folder
from .runs.model_file import model_checkpoints
from .runs.names import SEARCH_CONFIG_NAME

DATA, RUN, PREDICTED = "demo-data", "run", "predicted"
"""Folders below the demo's."""
HOURS = 0.11
"""For all stages: enough for both networks to learn the three organs on two cores."""
PLANS = 3
"""So often it may find the machine slower than before."""
QUICK: dict[str, Any] = {
    "search": {
        "plan": {"spacing_mm": [1, 1, 1], "patch_size": [24, 24, 16], "strides": [[2, 2, 2]] * 2},
        "space": {"base_channels": 4, "anchored_edges": True, "edge_scale": True, "pass_through": True},
        "search": {
            "strategy": "single-path",
            "epochs": 2,
            "steps_per_epoch": 2,
            "validate_every": 2,
            "left_out_fold": 0,
            "validation_cases": 1,
        },
        "budget": {"multiply_adds": 20_000_000},
        "choice": {
            "num_measured": 3,
            "population": 2,
            "finetune_steps": 1,
            "budget_shares": [1.0],
            "measure_latency": False,
        },
    },
    "proposals": 1,
    "choice": None,
    "final": {"epochs": 2, "steps_per_epoch": 2, "validate_every": 2},
    "folds": (),
    "with_unet": True,
    "minutes": {
        "check": 0.1,
        "plan": 0.1,
        "search": 0.3,
        "choose": 0.1,
        "train": 1,
        "evaluate": 0.1,
        "report": 0.1,
    },
    "parts": {"search": {"steps": 0.2, "measured": 0.1}, "train": {"steps": 0.8, "scored": 0.2}},
    "memory_gib": {},
}
"""A schedule of a few steps, less than ``plan`` ever gives."""


def run_demo(folder: Path, *, quick: bool = False) -> AutoRecord:
    """Generates data, runs ``uxnet auto`` on them through NNI, and segments one scan.

    The same command goes on where it stopped.

    Args:
        folder: where everything is written.
        quick: a few steps of everything but the timing, in about a minute; the scores then mean
            nothing.

    Raises:
        UserError: if a step fails.
    """
    print(f"Generating scans in {folder / DATA}.", flush=True)
    make_demo_data(folder / DATA)
    if quick:
        _plan_quickly(folder / DATA, folder / RUN)
    record = _run(folder)
    _predict_one(folder)
    return record


def _plan_quickly(data: Path, output: Path) -> None:
    """What the stage ``plan`` leaves in a folder, unless there is a schedule already."""
    make_output_folder(output)
    record = open_record(output, read_dataset(data), None, with_unet=True)
    if record.schedule is not None:
        return
    search = {**QUICK["search"], "dataset": str(data.resolve())}
    record.schedule = Schedule.parse({**QUICK, "search": search}, "quick")
    write_text(output / SEARCH_CONFIG_NAME, schedule_yaml(record.schedule, record.hours))
    record.stages["plan"].done = True
    record.save(output)


def _run(folder: Path) -> AutoRecord:
    """All stages in :data:`HOURS`, or in as few as this machine can."""
    data, output = str(folder / DATA), folder / RUN
    before = AutoRecord.load(output)
    if before is not None and before.schedule is not None:
        return run_auto(data, output, through_nni=True)
    hours = HOURS
    for _ in range(PLANS):  # a busy machine is slower each time that it is timed
        try:
            return run_auto(data, output, hours=hours, through_nni=True)
        except TooFewHours as error:
            print(f"The shortest schedule on this machine takes {60 * error.least:.0f} minutes.", flush=True)
            hours = 1.1 * error.least
    return run_auto(data, output, hours=hours, through_nni=True)


def _predict_one(folder: Path) -> None:
    """Segments the first training case, as ``uxnet predict`` does."""
    models = {path: load_model(path) for path in model_checkpoints(folder / RUN)}
    model = next(iter(models.values()))
    case = read_dataset(folder / DATA).cases[0]
    scans = find_scans(case.image, model.dataset.channel_names, model.dataset.spatial_dims)
    outcome = predict_folder(scans, folder / PREDICTED, models, WindowSettings(), overwrite=True)
    for failure in outcome.failures.values():
        raise UserError(failure)
