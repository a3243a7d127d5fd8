"""Trainings and searches in two processes (DDP, gloo) end with the numbers of one, killed and resumed too."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from torch import Tensor
from two_processes import Launcher, Run, by_hand, by_srun, by_torchrun, in_one_process, in_two_processes

from search_space import UserError
from strategies import bilevel_steps
from uxnet_eval.preprocessing.patch_stream import PatchStream
from uxnet_eval.recipe import loss as recipe_loss
from uxnet_eval.recipe.epochs import Validations
from uxnet_eval.recipe.validation import DiceTally
from uxnet_eval.runs.search_record import SearchRecord
from uxnet_eval.search.run import run_search
from uxnet_eval.training.run import run_training

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PLAN = {
    "spacing_mm": [1.0, 1.0, 1.0],
    "patch_size": [16, 16, 16],
    "strides": [[2, 2, 2], [2, 2, 2]],
    "batch_size": 2,
}
RUNTIME = {"num_threads": 1, "precision": "float32", "device": "cpu"}
TRAINING = {
    "plan": PLAN,
    "network": {"architecture": "preset:unet", "base_channels": 2},
    # SGD: Adam divides by the gradient's size, so where it is 0 but for rounding, rounding would set the step.
    "train": {
        "epochs": 3,
        "steps_per_epoch": 3,
        "validate_every": 1,
        "optimizer": "sgd",
        "learning_rate": 0.01,
    },
    "runtime": RUNTIME,
}
SEARCH = {
    "plan": PLAN,
    "space": {"base_channels": 2},
    "search": {"epochs": 3, "steps_per_epoch": 3, "warmup_epochs": 1, "validation_cases": 2},
    "runtime": RUNTIME,
}
REORDERING = 8.0
"""How much more two processes may change than an exchange of the two patches of each batch does. Both change
nothing but the order of float32 sums: over the batch's patches in the loss and in each gradient, once a step. So
their differences are of one size; the factor is for which sums come out how."""


def train(config: Path, output: Path) -> None:
    run_training(config, output=output)


def search(config: Path, output: Path) -> None:
    run_search(config, output=output)


def killed_in_epoch_two() -> None:
    """Every process is killed after the second epoch's first step, as by a power cut."""
    start = Validations.on_train_epoch_start

    def kill(self: Validations, trainer: Any, module: Any) -> None:
        start(self, trainer, module)
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    Validations.on_train_epoch_start = kill  # type: ignore[method-assign]


def with_patches_exchanged(run: Run, config: Path, output: Path) -> None:
    batch = PatchStream.batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            PatchStream,
            "batch",
            lambda self, epoch, step: {k: v.flip(0) for k, v in batch(self, epoch, step).items()},
        )
        run(config, output)


def write(folder: Path, dataset: Path, values: dict[str, Any]) -> Path:
    path = folder / "tiny.run.yml"
    path.write_text(yaml.safe_dump({"dataset": str(dataset), **values}))
    return path


def weights(folder: Path) -> dict[str, Tensor]:
    state = torch.load(folder / "checkpoint.ckpt", weights_only=True)["state_dict"]
    return {name: value.double() for name, value in state.items() if value.is_floating_point()}


def architecture(folder: Path) -> dict[str, Tensor]:
    """Gates and softmax weights at every validation."""
    return {
        f"{entry['epoch']} {name}": torch.tensor(value, dtype=torch.float64)
        for entry in SearchRecord.load(folder).history
        for name, value in [
            *entry["gates"].items(),
            *((f"{layer} {name}", w) for layer, each in entry["alphas"].items() for name, w in each.items()),
        ]
    }


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.fixture(scope="module", params=["training", pytest.param("search", marks=pytest.mark.scale)])
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, demo_set: Path
) -> Iterator[dict[str, Any]]:
    """One process, one with patches exchanged, two, and killed ones: two resumed by two and by one, one by two."""
    run, values, read = {"training": (train, TRAINING, weights), "search": (search, SEARCH, architecture)}[
        request.param
    ]
    folder = tmp_path_factory.mktemp(request.param)
    config = write(folder, demo_set, values)
    found: dict[str, Any] = {"read": read, "folder": folder, "config": config, "run": run}
    assert in_two_processes(run, config, folder / "two") == [0, 0]
    codes = in_two_processes(run, config, folder / "resumed_by_two", killed_in_epoch_two)
    assert codes == [-signal.SIGKILL] * 2 and not (folder / "resumed_by_two" / "result.json").exists()
    shutil.copytree(folder / "resumed_by_two", folder / "resumed_by_one")
    assert in_two_processes(run, config, folder / "resumed_by_two") == [0, 0]
    assert in_one_process(run, config, folder / "one_resumed_by_two", killed_in_epoch_two) == -signal.SIGKILL
    assert in_two_processes(run, config, folder / "one_resumed_by_two") == [0, 0]
    run(config, folder / "resumed_by_one")
    run(config, folder / "one")
    with_patches_exchanged(run, config, folder / "exchanged")
    yield found


def test_two_processes_give_the_numbers_of_one(runs: dict[str, Any]) -> None:
    folder, read = runs["folder"], runs["read"]
    one = read(folder / "one")
    rounding = distance(one, read(folder / "exchanged"))
    assert 0 < rounding < 1e-3
    for name in ("two", "resumed_by_two", "resumed_by_one", "one_resumed_by_two"):
        assert distance(one, read(folder / name)) <= REORDERING * rounding, name
    assert distance(read(folder / "two"), read(folder / "resumed_by_two")) == 0  # resumed bit for bit
    results = [json.loads((folder / name / "result.json").read_text()) for name in ("one", "two")]
    assert results[0]["parameters"] == results[1]["parameters"]
    assert results[0]["default"] == pytest.approx(results[1]["default"], abs=0.02)


def test_a_search_whose_processes_drift_apart_ends(
    tmp_path: Path, demo_set: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the exchange of gradients; the first epoch moves no alphas and betas."""

    def keep_own_gradients() -> None:
        bilevel_steps.average_gradients = lambda parameters: None

    config = write(tmp_path, demo_set, SEARCH)
    assert in_two_processes(search, config, tmp_path / "out", keep_own_gradients) == [1, 1]
    said = capfd.readouterr().err
    assert said.count("RuntimeError: alphas and betas differ between the processes after epoch 2") == 2
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.fixture(scope="module")
def weights_of_one_machine(tmp_path_factory: pytest.TempPathFactory, demo_set: Path) -> dict[str, Tensor]:
    folder = tmp_path_factory.mktemp("one_machine")
    assert in_two_processes(train, write(folder, demo_set, TRAINING), folder / "out") == [0, 0]
    return weights(folder / "out")


@pytest.mark.scale
@pytest.mark.parametrize("launcher", [by_hand, by_srun, by_torchrun])
def test_two_machines_give_the_weights_of_two_processes_on_one(
    tmp_path: Path,
    demo_set: Path,
    launcher: Launcher,
    weights_of_one_machine: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both machines are this one, and gloo talks over its loopback interface."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (tmp_path / "port").write_text(str(free.getsockname()[1]))
    config = write(tmp_path, demo_set, TRAINING)
    assert in_two_processes(train, config, tmp_path / "out", launcher=launcher) == [0, 0]
    assert distance(weights_of_one_machine, weights(tmp_path / "out")) == 0


@pytest.mark.scale
def test_torchrun_itself_starts_two_machines(
    tmp_path: Path, demo_set: Path, weights_of_one_machine: dict[str, Tensor]
) -> None:
    """The command of docs/scale.md; both machines are this one."""
    config = write(tmp_path, demo_set, {**TRAINING, "runtime": {**RUNTIME, "num_nodes": 2}})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"uxnet_eval.cli train --config {config} --output {tmp_path / 'out'}".split()
    machine = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--master-addr", "127.0.0.1"]
    machine += ["--master-port", str(port), "--no-python"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    with (tmp_path / "log").open("w") as log:
        machines = [
            subprocess.Popen(
                [*machine, f"--node-rank={rank}", sys.executable, "-m", *command],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=environment,
            )
            for rank in (0, 1)
        ]
        codes = [each.wait(timeout=300) for each in machines]
    assert codes == [0, 0], (tmp_path / "log").read_text()
    assert distance(weights_of_one_machine, weights(tmp_path / "out")) == 0


@pytest.mark.parametrize(("run", "values", "scores"), [(train, TRAINING, 1), (search, SEARCH, 2)])
def test_validation_is_shared_by_cases_and_one_process_writes(
    tmp_path: Path, demo_set: Path, run: Run, values: dict[str, Any], scores: int
) -> None:
    """Of two cases, at three validations; a search scores the supernet and the network of its choices."""

    def note() -> None:
        notes, out, add = tmp_path / f"rank{os.environ['LOCAL_RANK']}", str(tmp_path / "out"), DiceTally.add

        def noted(self: DiceTally, dice: Tensor) -> None:
            add(self, dice)
            with notes.open("a") as file:
                file.write(f"case {dice.tolist()}\n")

        def opened(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and str(arguments[0]).startswith(out) and arguments[2] & os.O_ACCMODE:
                with notes.open("a") as file:
                    file.write(f"wrote {arguments[0]}\n")

        DiceTally.add = noted  # type: ignore[method-assign]
        sys.addaudithook(opened)

    values = {**values, "train": {**values["train"], "num_folds": 4}} if "train" in values else values
    assert in_two_processes(run, write(tmp_path, demo_set, values), tmp_path / "out", note) == [0, 0]
    first, second = ((tmp_path / f"rank{rank}").read_text() for rank in (0, 1))
    assert first.count("case ") == second.count("case ") == 3 * scores
    assert "wrote " in first and "wrote " not in second, second


def test_losses_that_are_averaged_instead_of_shared_would_be_noticed(runs: dict[str, Any]) -> None:
    """The mean of two Dice losses is not the Dice loss of both batches: the comparison above must see it."""

    def average() -> None:
        recipe_loss.num_processes = lambda: 1

    folder, read = runs["folder"], runs["read"]
    in_two_processes(runs["run"], runs["config"], folder / "averaged", average)
    rounding = distance(read(folder / "one"), read(folder / "exchanged"))
    assert distance(read(folder / "one"), read(folder / "averaged")) > 4 * REORDERING * rounding


@pytest.mark.scale
@pytest.mark.parametrize(("name", "values"), [("train", TRAINING), ("search", SEARCH)])
def test_the_command_starts_its_processes_itself_and_listens_on_loopback_alone(
    tmp_path: Path, demo_set: Path, name: str, values: dict[str, Any]
) -> None:
    config = write(tmp_path, demo_set, values)
    command = [sys.executable, "-m", "uxnet_eval.cli", name, "--config", str(config)]
    command += ["--output", str(tmp_path / "out"), "--set", "devices=2"]
    addresses: set[str] = set()
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        most = 0
        while process.poll() is None:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            most = max(most, len(family))
            for each in family:
                try:
                    addresses |= {
                        connection.laddr.ip
                        for connection in each.net_connections(kind="inet")
                        if connection.status == psutil.CONN_LISTEN
                    }
                except psutil.Error:
                    continue
            time.sleep(0.05)
    text = (tmp_path / "log").read_text()
    assert process.returncode == 0, text
    assert most >= 2 and addresses == {"127.0.0.1"}
    assert (tmp_path / "out" / "result.json").exists()
    assert (
        len(re.findall("epoch 3: (?:loss|Dice)", text)) == 1 and text.count("results are in") == 1
    )  # one process speaks
    assert text.count("Warning") == text.count("RescueWarning: no path of gates") <= 1  # of so short a search


@pytest.mark.parametrize(
    ("values", "changes", "message"),
    [
        (TRAINING, {"devices": 4096}, "devices is 4096, but .* processor cores are here; lower it"),
        (TRAINING, {"devices": 2, "num_nodes": 3}, "batch_size is 2, which 6 processes .* use batch_size 6"),
        (SEARCH, {"devices": 2, "strategy": "single-path"}, "single-path searches in one process"),
    ],
)
def test_what_cannot_be_shared_is_one_line(
    tmp_path: Path, demo_set: Path, values: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    values = {name: dict(section) for name, section in values.items()}
    if "strategy" in changes:
        values["search"]["strategy"] = changes.pop("strategy")
    values["runtime"] |= changes
    run = train if "train" in values else search
    with pytest.raises(UserError, match=message):
        run(write(tmp_path, demo_set, values), tmp_path / "out")
    assert not (tmp_path / "out").exists()
