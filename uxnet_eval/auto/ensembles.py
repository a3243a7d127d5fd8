"""Ensembles of the final trainings: their scores on a fold, and which one segments new scans."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from search_space.reading import read_json

from ..dataset.folds import NUM_FOLDS, SPLIT_SEED, split_fold
from ..dataset.msd import Dataset
from ..evaluation.folders import write_evaluation
from ..networks.checkpoint import load_model
from ..preprocessing.prepared_cases import PreparedCases
from ..runs.names import BEST_NAME, EVALUATION_FOLDER, RESULT_NAME, SUMMARY_NAME, TRAINING_FOLDER
from ..runs.validation_cases import ValidationCases
from ..training.scoring import score_models
from .schedule import BOTH, FOLDERS, Schedule


def member_folder(folder: Path, label: str, member: int | None) -> Path:
    """The output folder of one final training."""
    name = FOLDERS[label]
    return folder / TRAINING_FOLDER / (name if member is None else f"{name}-fold{member}")


def evaluation_folder(folder: Path, label: str, fold: int | None = None) -> Path:
    """The folder of an ensemble's scores on the left-out fold, or on a fold of its members."""
    name = FOLDERS[label]
    return folder / EVALUATION_FOLDER / (name if fold is None else f"{name}-fold{fold}")


def member_checkpoints(folder: Path, schedule: Schedule, label: str, fold: int | None = None) -> list[Path]:
    """The checkpoints of an ensemble; those of one fold, or all."""
    return [
        member_folder(folder, part, member) / BEST_NAME
        for member in (schedule.members if fold is None else (fold,))
        for part in (schedule.networks if label == BOTH else (label,))
    ]


def score_ensemble(
    folder: Path, dataset: Dataset, schedule: Schedule, label: str, fold: int | None = None
) -> None:
    """Writes the scores of an ensemble; scores that are there stay.

    Args:
        folder: of the run, with its trainings.
        dataset: of the run.
        schedule: of the final trainings.
        label: of the ensemble.
        fold: that scores its members of this fold, without cases of the left-out fold. None: the
            left-out fold scores all members.
    """
    output = evaluation_folder(folder, label, fold)
    if (output / SUMMARY_NAME).exists():
        return
    scored = schedule.outer_fold if fold is None else fold
    left_out = None if fold is None else schedule.outer_fold
    _, cases = split_fold(dataset, fold=scored, num_folds=NUM_FOLDS, seed=SPLIT_SEED, left_out=left_out)
    prepared = PreparedCases(cases, dataset, schedule.search.plan, cache=False)
    device = schedule.search.runtime.device
    models = [load_model(path, device=device) for path in member_checkpoints(folder, schedule, label, fold)]
    seen = ValidationCases() if fold is None else None
    evaluation = score_models(models, prepared, dataset, models[0].config["train"]["tolerance_mm"], seen)
    output.mkdir(exist_ok=True)
    if seen is not None:
        title = f"Cases of the left-out fold, {label}, ensemble of {len(models)}"
        seen.save(output, dataset.class_names, title)
    write_evaluation(evaluation, output)


def own_folds_dice(folder: Path, schedule: Schedule) -> dict[str, float]:
    """The mean Dice on the folds of the final trainings: of each network alone, and of both.

    Args:
        folder: of the run, with the scores of ``BOTH`` on these folds.
        schedule: has folds, and the U-Net.
    """
    dice = {
        label: fmean(
            float(read_json(member_folder(folder, label, fold) / RESULT_NAME)["default"])
            for fold in schedule.folds
        )
        for label in schedule.networks
    }
    both = (read_json(evaluation_folder(folder, BOTH, fold) / SUMMARY_NAME) for fold in schedule.folds)
    return dice | {BOTH: fmean(float(summary["mean_dice"] or 0.0) for summary in both)}
