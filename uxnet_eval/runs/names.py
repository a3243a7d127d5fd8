"""The names of files and folders in the outputs of the commands, by which others find them.

The rest of the program takes them from here (``tests/test_files.py``).
"""

from __future__ import annotations

from pathlib import Path

CONFIG_NAME = "run.yml"
"""The resolved configuration."""
CHECKPOINT_NAME = "checkpoint.ckpt"
"""State of the run after its last epoch, to continue from; the one before is
:func:`previous_checkpoint`."""
RESULT_NAME = "result.json"
"""The final numbers; a run that has it is done."""
GENOTYPE_NAME = "genotype.json"
"""The genotype that a search found or a training trains."""
ORIGIN_NAME = "from_checkpoint.json"
"""The checkpoint of another run that a run has begun from."""
LOCK_NAME = ".lock"
"""Says that a process works in the folder."""
CACHE_FOLDER = "cache"
"""Prepared cases that do not fit into memory."""
TENSORBOARD_FOLDER = "tensorboard"
"""Curves and pictures."""
TRACKING_NAME = "tracking.json"
"""Ids of the run in experiment trackers."""
REPORT_NAME = "report.html"
"""The page that shows a run, or all runs of an experiment."""
OVERLAYS_FOLDER, OVERLAYS_INDEX = "overlays", "overlays.json"
"""Pictures of segmented cases, and what they show."""

EXPERIMENT_NAME = "experiment.json"
"""An experiment that SLURM runs: its configuration, its trials' parameters and its jobs."""
TRIALS_FOLDER = "trials"
"""The output folders of the trials of an experiment of SLURM."""
LOCAL_TRIALS = ("environments", "local-env", "trials")
"""The path of those of an experiment of NNI."""
UI_TRIALS_FOLDER = "trials"
"""The folder of an experiment of NNI in which its page looks for curves."""
LOG_FOLDER = "log"
"""The folder of an experiment of NNI that its web page serves."""
PARAMETERS_NAME, INTERMEDIATE_NAME, FINAL_NAME = "parameters.json", "intermediate.jsonl", "final.json"
"""In the folder of a trial without a manager: what it is given, and what it reports."""
STATE_NAME = "state.json"
"""How far a trial without a manager has come."""

SEARCH_NAME = "search.json"
"""The record of a search: gates, alphas and their history."""
FRONT_NAME = "front.json"
"""The record of a search by measurement: every measured architecture with its cost."""
LATENCY_NAME = "latency.json"
"""The latencies of the operations of a space on one machine."""
NETWORK_LATENCIES_NAME = "network_latencies.json"
"""The latencies of whole networks of the space that were measured there."""
GENOTYPES_FOLDER = "genotypes"
"""The genotypes of a search at several thresholds."""

FOLDS_NAME = "folds.json"
"""The cases of every fold of a training."""
CURVES_NAME = "training.json"
"""The validations of a training."""
BEST_NAME, LAST_NAME = "best.pt", "last.pt"
"""The trained network at its best and at its last validation."""

PROPOSALS_FOLDER, SELECTION_FOLDER, FINAL_FOLDER = "proposals", "selection", "final"
"""In the folder of a contest: the proposed genotypes, their trainings, the training that is
scored."""
SEARCH_CONFIG_NAME, SEARCH_FOLDER = "search.run.yml", "search"
"""The search of a contest or of ``uxnet auto``."""
CASES_NAME, SUMMARY_NAME = "cases.csv", "summary.json"
"""The scores of every case, and their summary."""
PREDICTION_NAME = "prediction.json"
"""What predicted, and which cases are finished."""
COMPARISON_NAME = "comparison"
"""The stem of a comparison's files: ``.md``, ``.csv``, ``.json``, ``.png``."""

AUTO_NAME, AUTO_LOG_NAME = "auto.json", "auto.log"
"""The record of ``uxnet auto``, and its messages."""
CHOICE_FOLDER, TRAINING_FOLDER, EVALUATION_FOLDER = "choose", "train", "evaluation"
"""What its stages leave, beside :data:`SEARCH_FOLDER`."""
NNI_FOLDER = "nni"
"""The NNI experiments of ``uxnet auto --nni``."""
PART_ENDING = ".part.json"
"""Beside the folder of a training that is a trial of such an experiment: how far it is."""
MODEL_NAME = "model.json"
"""The checkpoints of a folder that segment new scans together."""
ARCHITECTURE_NAME, TABLE_NAME, OUTCOME_NAME = "architecture.png", "table.md", "outcome.json"
"""The drawing of the found network, and what came out as a table and as plain values."""


def previous_checkpoint(path: Path) -> Path:
    """The path of the checkpoint that was written before the one at ``path``."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")
