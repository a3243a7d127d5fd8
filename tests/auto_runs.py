"""A planned run of ``uxnet auto`` on tiny data, whose stages take seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from uxnet_eval.auto.planning import schedule_yaml
from uxnet_eval.auto.record import AutoRecord, open_record
from uxnet_eval.auto.run import run_auto
from uxnet_eval.auto.schedule import Schedule, Steps
from uxnet_eval.config.search import RunConfig
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.runs.names import SEARCH_CONFIG_NAME

HOURS = 5.0
"""Far more than the stages take: nothing is shortened."""
STAGE_MINUTES = {
    "check": 0.1,
    "plan": 0.1,
    "search": 1.0,
    "choose": 1.0,
    "train": 4.0,
    "evaluate": 0.5,
    "report": 0.3,
}


def tiny_schedule(data: Path, *, folds: tuple[int, ...] = (1, 2), with_unet: bool = True) -> Schedule:
    """Two steps of shared weights, three architectures, two proposals, and trainings of two epochs."""
    values = {
        "dataset": str(data.resolve()),
        "plan": {
            "spatial_dims": 3,
            "spacing_mm": [1.0] * 3,
            "patch_size": [16] * 3,
            "strides": [[2] * 3] * 2,
            "batch_size": 1,
        },
        "space": {
            "base_channels": 4,
            "width_choices": [0.5, 1.0, 1.5],
            "anchored_edges": True,
            "edge_scale": True,
            "pass_through": True,
            "normal_candidates": ["conv3", "2xconv3"],
        },
        "search": {
            "strategy": "single-path",
            "epochs": 2,
            "steps_per_epoch": 1,
            "validate_every": 2,
            "left_out_fold": 0,
            "validation_cases": 1,
        },
        "budget": {
            "multiply_adds": 10_461_184,
            "max_parameters": 23_860,
            "max_activations": 125_952,
        },  # the U-Net's
        "choice": {
            "num_measured": 3,
            "population": 2,
            "finetune_steps": 1,
            "budget_shares": [1.0],
            "measure_latency": False,
        },
        "runtime": {"num_threads": 1, "precision": "float32"},
    }
    return Schedule(
        search=RunConfig.parse(values, "test"),
        proposals=2,
        choice=Steps(epochs=2, steps_per_epoch=1, validate_every=2),
        final=Steps(epochs=3, steps_per_epoch=1, validate_every=2),
        folds=folds,
        with_unet=with_unet,
        minutes=STAGE_MINUTES,
        parts={"search": {"steps": 0.5, "measured": 0.5}, "train": {"steps": 3.0, "scored": 1.0}},
        memory_gib={"search": 0.5},
    )


def planned(folder: Path, data: Path, schedule: Schedule) -> AutoRecord:
    """A folder as the stage ``plan`` leaves it, with a schedule of a few steps."""
    folder.mkdir(exist_ok=True)
    record = open_record(folder, read_dataset(data), HOURS, with_unet=schedule.with_unet)
    record.schedule = schedule
    (folder / SEARCH_CONFIG_NAME).write_text(schedule_yaml(schedule, HOURS))
    for name in ("check", "plan"):
        record.stages[name].done = True
    record.save(folder)
    return record


def finished_run(folder: Path, data: Path) -> Path:
    """The folder after all stages."""
    planned(folder, data, tiny_schedule(data))
    run_auto(str(data), folder)
    return folder


def outcome_of(folder: Path) -> dict[str, Any]:
    """The values of ``outcome.json``."""
    return dict(json.loads((folder / "outcome.json").read_text()))
