"""The brain run configuration on real brains: two MR sequences, five labels, 240 x 240 x 155 voxels."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from search_space import Genotype
from uxnet_eval.runs.search_record import SearchRecord
from uxnet_eval.search.run import run_search

CONFIG = Path(__file__).resolve().parents[1] / "experiments" / "brain.run.yml"


@pytest.mark.slow
def test_brain_configuration_searches_real_brains(brats, tmp_path):
    # The configuration's own 1 mm, 96^3 and 16 channels take ten minutes for these steps: coarser and narrower.
    coarser = {"spacing_mm": [4, 4, 4], "patch_size": [48, 48, 48], "base_channels": 4}
    shorter = {
        "epochs": 2,
        "steps_per_epoch": 2,
        "warmup_epochs": 1,
        "validate_every": 2,
        "validation_cases": 1,
        "left_out_fold": None,  # four cases make no five folds
    }
    output = run_search(
        CONFIG,
        output=tmp_path / "out",
        overrides={"dataset": str(brats), "num_workers": 1, **coarser, **shorter},
    )
    record = SearchRecord.load(output)
    assert len(record.gates) == 50 and len(record.alphas) == 29
    assert any(gate != 0.5 for gate in record.gates.values())
    assert Genotype.load(output / "genotype.json").levels == 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 16 * 2**20  # KiB
