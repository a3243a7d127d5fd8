"""Where a genotype comes from, for whoever finds it later."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from ..config.search import RunConfig
from ..dataset.msd import Dataset
from ..nni_guards import is_nni_trial, trial_output


def provenance(config: RunConfig, dataset: Dataset) -> dict[str, Any]:
    """Where the genotype of a search comes from: data, settings, versions, and the trial if any."""
    origin: dict[str, Any] = {
        "dataset": dataset.name,
        "num_cases": len(dataset.cases),
        "seed": config.search.seed,
        "search": config.search.model_dump(mode="json"),
        "space": config.space.model_dump(mode="json", exclude_none=True),
        "plan": config.plan.model_dump(mode="json"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "nni", "monai", "pytorch-lightning")},
    }
    if is_nni_trial():
        origin["nni"] = {
            "experiment_id": os.environ.get("NNI_EXP_ID"),
            "trial_id": os.environ.get("NNI_TRIAL_JOB_ID"),
        }
    elif (folder := trial_output()) is not None:
        origin["slurm"] = {"experiment_id": folder.parents[1].name, "trial_id": folder.name}
    return origin
