"""Each guard of an experiment's configuration beside the defect of NNI 3.0 that it guards against."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from search_space.errors import UserError
from uxnet_eval import nni_guards
from uxnet_eval.config.search import RunConfig
from uxnet_eval.nni_guards import experiment_config


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        # One GPU, one trial: NNI's comparison gives out fewer than all GPUs.
        (dict(per_trial=1, concurrency=1, num_gpus=1), "hangs NNI, which gives out fewer than all"),
        (dict(per_trial=2, concurrency=1, num_gpus=2), "hangs NNI, which gives out fewer than all"),
        # Half of one GPU each: two fit.
        (dict(per_trial=1, concurrency=1, num_gpus=1, max_per_gpu=2), None),
        (dict(per_trial=1, concurrency=2, num_gpus=1, max_per_gpu=2), None),
        (dict(per_trial=1, concurrency=3, num_gpus=1, max_per_gpu=2), r"\(2 trial\(s\) at once\)"),
        # Whole GPUs.
        (dict(per_trial=1, concurrency=2, num_gpus=2), None),
        (dict(per_trial=1, concurrency=3, num_gpus=2), "set trialConcurrency to 2 or less"),
        (dict(per_trial=2, concurrency=2, num_gpus=4), None),
        (dict(per_trial=2, concurrency=2, num_gpus=3), r"\(1 trial\(s\) at once\)"),
        (dict(per_trial=1, concurrency=2, num_gpus=4, indices=[3]), r"1 GPU\(s\) hold \(1 trial"),
        (
            dict(per_trial=2, concurrency=1, num_gpus=4, indices=[3]),
            r"\(0 trial\(s\) at once\), which hangs NNI; leave",
        ),
        (
            dict(per_trial=1, concurrency=1, num_gpus=4, indices=[4]),
            "gpuIndices names GPU 4; this machine has 0 to 3",
        ),
        (dict(per_trial=1, concurrency=1, num_gpus=0), "no GPU"),
        # A GPU that somebody else begins to use would hang NNI.
        (dict(per_trial=1, concurrency=1, num_gpus=2, use_active=None), "useActiveGpu: true"),
        (dict(per_trial=1, concurrency=1, num_gpus=2, use_active=False), "useActiveGpu: true"),
    ],
)
def test_requests_for_gpus_that_nni_cannot_meet(request_: dict, fault: str | None) -> None:
    request_ = {"use_active": True, **request_}
    if fault is None:
        experiment_config.check_gpus(**request_)
    else:
        with pytest.raises(UserError, match=fault):
            experiment_config.check_gpus(**request_)


def _write_config(folder: Path, **changes: object) -> Path:
    values = {
        "searchSpace": {"seed": {"_type": "choice", "_value": [0, 1]}},
        "trialCommand": "python trial.py",
        "trialConcurrency": 1,
        "maxTrialNumber": 2,
        "tuner": {"name": "Random"},
        "trainingService": {"platform": "local"},
        **changes,
    }
    file = folder / "exp.yml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return file


@pytest.mark.parametrize("spelling", ["trialGpuNumber", "trial_gpu_number", "in the training service"])
def test_gpus_are_checked_wherever_nni_reads_them(
    spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local: dict = {"platform": "local", "useActiveGpu": True}
    if spelling.startswith("trial"):
        file = _write_config(tmp_path, trainingService=local, **{spelling: 1})
    else:
        file = _write_config(tmp_path, trainingService={**local, "trialGpuNumber": 1})
    monkeypatch.setattr(experiment_config, "count_gpus", lambda: 1)
    with pytest.raises(UserError, match=r"exp\.yml: trialGpuNumber 1 on a machine with 1 GPU"):
        nni_guards.check_experiment_config(file)
    monkeypatch.setattr(experiment_config, "count_gpus", lambda: 2)
    assert nni_guards.check_experiment_config(file).training_service.trial_gpu_number == 1


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"trialConcurency": 2}, "does not have field"),
        ({"trialConcurrency": "two"}, "NNI refuses it"),
        ({"tuner": {"name": "Radnom"}}, "no tuner 'Radnom' (did you mean 'Random'?)"),
        ({"assessor": {"name": "TPE"}}, "no assessor 'TPE'"),
        ({"searchSpace": {"seed": {"_type": "choice", "_value": ["a//b"]}}}, "holds 'a//b'"),
        ({"searchSpace": {"a#b": {"_type": "choice", "_value": [1]}}}, "holds 'a#b'"),
        ({"searchSpace": {"x": {"_type": "loguniform", "_value": ["1e-3", 1.0]}}}, "write 1.0e-3"),
        ({"searchSpace": {"x": {"_type": "choise", "_value": [1]}}}, "unsupported type"),
        ({"trialCodeDirectory": "absent"}, "is not a directory"),
        (
            {"trialCommand": "python 'trial.py"},
            "trialCommand is no command of a shell (No closing quotation)",
        ),
        ({"trialConcurrency": 0}, "oncurrency"),
        ({"searchSpace": {"seed": {"_type": "choice", "_value": []}}}, "seed"),
    ],
)
def test_settings_that_nni_dies_on_late(changes: dict, fault: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(fault)) as caught:
        nni_guards.check_experiment_config(_write_config(tmp_path, **changes))
    assert str(caught.value).startswith(str(tmp_path / "exp.yml")) and "\n" not in str(caught.value)
    nni_guards.check_experiment_config(_write_config(tmp_path))  # an error leaves nothing behind in NNI


RUN = {
    "dataset": "scans",
    "plan": {"spacing_mm": [1, 1, 1], "patch_size": [16, 16, 16], "strides": [[2, 2, 2], [2, 2, 2]]},
}


def _uxnet_config(folder: Path, space: dict, command: str = "uxnet search --config exp.run.yml") -> Path:
    (folder / "scans").mkdir(exist_ok=True)
    (folder / "exp.run.yml").write_text(yaml.safe_dump(RUN))
    return _write_config(folder, searchSpace=space, trialCommand=command)


def test_search_space_fits_the_run_configuration(tmp_path: Path) -> None:
    RunConfig.parse(RUN, "RUN")
    space = {
        "seed": {"_type": "choice", "_value": [0, 1]},
        "sparsity_weight": {"_type": "loguniform", "_value": [0.1, 10]},
        "alpha_learning_rate": {"_type": "normal", "_value": [0.01, 0.001]},
        "epochs": {"_type": "randint", "_value": [1, 3]},
    }
    before = os.getcwd()
    checked = nni_guards.check_experiment_config(_uxnet_config(tmp_path, space))
    assert list(checked.search_space) == list(space)
    assert os.getcwd() == before


@pytest.mark.parametrize(
    ("space", "command", "fault"),
    [
        (
            {"sparsity_wieght": [1]},
            None,
            "unknown parameter 'sparsity_wieght' (did you mean 'sparsity_weight'?)",
        ),
        ({"prune_threshold": [0.5, 1.5]}, None, "prune_threshold"),
        ({"seed": [0]}, "uxnet search --config absent.run.yml", "absent.run.yml: cannot be read"),
        ({"seed": [0]}, "uxnet search", "names no run configuration"),
        (
            {"seed": [0]},
            'PATH="x/bin:$PATH" python3 -m uxnet_eval.cli search -c absent.run.yml',
            "absent.run.yml",
        ),
        (
            {"seed": [0]},
            "python -m uxnet_eval.search --config=absent.run.yml",
            "absent.run.yml: cannot be read",
        ),
    ],
)
def test_search_space_that_does_not_fit(space: dict, command: str | None, fault: str, tmp_path: Path) -> None:
    entries = {name: {"_type": "choice", "_value": values} for name, values in space.items()}
    file = _uxnet_config(tmp_path, entries, command or "uxnet search --config exp.run.yml")
    with pytest.raises(UserError, match=re.escape(fault)):
        nni_guards.check_experiment_config(file)


def test_data_set_of_the_run_configuration_must_be_there(tmp_path: Path) -> None:
    file = _uxnet_config(tmp_path, {"seed": {"_type": "choice", "_value": [0]}})
    (tmp_path / "scans").rmdir()
    with pytest.raises(UserError, match="dataset 'scans' was not found"):
        nni_guards.check_experiment_config(file)
