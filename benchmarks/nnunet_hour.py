"""What does nnU-Net reach in so many minutes? ``python -m benchmarks.nnunet_hour --help``.

nnU-Net plans, preprocesses and trains its default network on all folds but one, which scores it. Its
training is the default one, but for its length: the learning rate falls with the time spent instead
of with 1000 epochs. nnU-Net validates after 10 steps instead of 250, with one batch instead of 50,
so that less time goes into curves. Needs nnunetv2 (``.venv-exports`` of ``make test-exports``).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from uxnet_eval.dataset.cases import Dataset
from uxnet_eval.dataset.find import find_dataset
from uxnet_eval.dataset.folds import Fold, folds_of
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.networks.cost import network_cost
from uxnet_eval.planning.nnunet_plans import read_nnunet_plans
from uxnet_eval.runs.files import write_text

from .nnunet_side import (
    CONFIGURATION,
    NNUNetFolders,
    add_case,
    description,
    mean_dice,
    plan_and_preprocess,
)

STEPS_PER_EPOCH = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help="a folder in the layout of the Medical Segmentation Decathlon")
    parser.add_argument("--folder", type=Path, required=True, help="for nnU-Net's files; empty or absent")
    parser.add_argument("--minutes", type=float, default=60.0, help="for planning and training")
    parser.add_argument("--fold", type=int, default=0, help="that is left out, and scores")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    started = time.monotonic()
    if arguments.folder.exists() and any(arguments.folder.iterdir()):
        parser.error(f"{arguments.folder} is not empty")
    dataset = read_dataset(find_dataset(arguments.dataset))
    fold = folds_of(dataset, 5, 0)[arguments.fold]
    folders = NNUNetFolders(arguments.folder.resolve())
    os.environ.update(folders.environment, nnUNet_n_proc_DA="1")  # more would take cores from the training
    _plan(folders, dataset, fold)
    planned = time.monotonic()
    trained = _train(folders, started + 60 * arguments.minutes)
    scored = time.monotonic()
    dice = mean_dice(trained.pop("predictions"), folders.references, dataset)
    values = {
        "dataset": dataset.name,
        "fold": arguments.fold,
        "num_cases": len(fold.held_out),
        "dice": dice,
        **trained,
        "plan_minutes": (planned - started) / 60,
        "validate_minutes": (scored - planned) / 60 - trained["train_minutes"],
        "num_threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("nnunetv2", "torch")},
    }
    write_text(arguments.output, json.dumps(values, indent=1) + "\n")
    print(f"mean Dice {dice['mean']:.4f} after {trained['steps']} steps: {arguments.output}")


def _plan(folders: NNUNetFolders, dataset: Dataset, fold: Fold) -> None:
    """Lays out all training cases, plans, preprocesses, and writes the split."""
    raw = folders.folder / "raw" / folders.name
    for case in dataset.cases:
        add_case(case, raw / "imagesTr", raw / "labelsTr")
        if case.case_id in fold.held_out:
            add_case(case, folders.scans, folders.references)
    (raw / "dataset.json").write_text(json.dumps(description(dataset, len(dataset.cases))))
    processes = str(os.cpu_count() or 1)
    plan_and_preprocess(folders, "-npfp", processes, "-np", processes)
    split = [{"train": list(fold.learned), "val": list(fold.held_out)}]
    target = folders.folder / "preprocessed" / folders.name / "splits_final.json"
    target.write_text(json.dumps(split))


def _train(folders: NNUNetFolders, deadline: float) -> dict[str, Any]:
    """Trains until the deadline and segments the validation cases, with nnU-Net's own mirroring."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class TimeIsUp(Exception):
        pass

    class TimedTrainer(nnUNetTrainer):  # type: ignore[misc]
        """``num_epochs`` is as many as there is time for."""

        def run_training(self) -> None:
            self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = STEPS_PER_EPOCH, 1
            self.started = time.monotonic()
            try:
                super().run_training()
            except TimeIsUp:
                self.on_train_end()

        def on_train_epoch_start(self) -> None:
            share = (time.monotonic() - self.started) / (deadline - self.started)
            if self.current_epoch:
                self.lr_scheduler.max_steps = self.current_epoch / min(share, 0.999)
            super().on_train_epoch_start()

        def on_epoch_end(self) -> None:
            super().on_epoch_end()
            now = time.monotonic()
            if now + (now - self.started) / self.current_epoch > deadline:  # no time for another
                raise TimeIsUp

    torch.set_num_threads(os.cpu_count() or 1)  # as nnUNetv2_train does
    base = folders.folder / "preprocessed" / folders.name
    plans = json.loads((base / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    trainer = TimedTrainer(
        plans, CONFIGURATION, 0, json.loads((base / "dataset.json").read_text()), torch.device("cpu")
    )
    trainer.run_training()
    train_minutes = (time.monotonic() - trainer.started) / 60
    trainer.perform_actual_validation()
    trainer.set_deep_supervision_enabled(False)
    plan = read_nnunet_plans(base / "nnUNetPlans.json", CONFIGURATION).plan
    cost = network_cost(trainer.network, plan, trainer.num_input_channels)
    return {
        "steps": trainer.current_epoch * STEPS_PER_EPOCH,
        "batch_size": trainer.configuration_manager.batch_size,
        "patch_size": list(plan.patch_size),
        **cost._asdict(),
        "train_minutes": train_minutes,
        "predictions": Path(trainer.output_folder) / "validation",
    }


if __name__ == "__main__":
    main()
