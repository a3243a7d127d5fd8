"""A stopped run whose checkpoint is damaged, or is another file: one line that names it, for every kind of run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torture.runs import make_place

from search_space.errors import UserError
from strategies.bilevel_steps import SparseDartsModule
from uxnet_eval.search.run import run_search
from uxnet_eval.training.module import TrainModule
from uxnet_eval.training.run import run_training

RUN: dict[str, Callable[..., Path]] = {
    "train": run_training,
    "search": run_search,
    "single-path": run_search,
}
State = dict[str, Any]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, ``KIND.yml``, and a run that has not finished, ``KIND``, for each kind."""
    place = make_place(tmp_path_factory.mktemp("place"))
    search = yaml.safe_load((place / "search.yml").read_text())
    search["search"] = {"strategy": "single-path", "epochs": 2, "steps_per_epoch": 1, "validation_cases": 1}
    search["space"] = {"base_channels": 4, "pass_through": True}
    search["choice"] = {"num_measured": 2, "population": 2}
    (place / "single-path.yml").write_text(yaml.safe_dump(search))
    for kind, run in RUN.items():
        output = run(place / f"{kind}.yml", output=place / kind)
        (output / "result.json").unlink()
        (output / "checkpoint.previous.ckpt").unlink(missing_ok=True)
    return place


def bytes_of(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def state_of(change: Callable[[State], Any]) -> Callable[[Path], object]:
    return lambda path: torch.save(change(torch.load(path, weights_only=True)), path)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 64]) + content[middle + 1 :]


def as_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def without(key: str) -> Callable[[Path], object]:
    return state_of(lambda state: {name: value for name, value in state.items() if name != key})


def with_weights(change: Callable[[State], State]) -> Callable[[Path], object]:
    return state_of(lambda state: {**state, "state_dict": change(state["state_dict"])})


def fewer(weights: State) -> State:
    return dict(list(weights.items())[:-1])


def of_another_shape(weights: State) -> State:
    return {name: torch.zeros(7, 7) for name in weights}


WAYS: dict[str, Callable[[Path], object]] = {
    "empty": bytes_of(lambda _: b""),
    "half": bytes_of(lambda content: content[: len(content) // 2]),
    "zeros": bytes_of(lambda content: bytes(len(content))),
    "a flipped bit": bytes_of(flipped),
    "a folder": as_a_folder,
    "another archive": state_of(lambda _: {"weights": {}}),
    "no dictionary": state_of(lambda _: [1]),
    "no weights": without("state_dict"),
    "no callbacks": without("callbacks"),
    "no optimizer": without("optimizer_states"),
    "no epoch": without("epoch"),
    "a weight missing": with_weights(fewer),
    "other weights": with_weights(of_another_shape),
    "weights that are text": with_weights(lambda weights: dict.fromkeys(weights, "x")),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", RUN)
def test_a_damaged_state_is_one_line(kind: str, way: str, stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped / kind, tmp_path / "out")
    WAYS[way](tmp_path / "out" / "checkpoint.ckpt")
    with pytest.raises(UserError, match=r"out/checkpoint\.ckpt: ") as caught:
        RUN[kind](stopped / f"{kind}.yml", output=tmp_path / "out")
    assert "\n" not in str(caught.value) and "; " in str(caught.value)


@pytest.mark.parametrize(("kind", "module"), [("train", TrainModule), ("search", SparseDartsModule)])
def test_a_bug_of_the_run_is_not_blamed_on_its_state(
    kind: str, module: type, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is read, and the error comes in the first step."""
    output = tmp_path / "out"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "on_validation_start", stop, raising=False)
        RUN[kind](stopped / f"{kind}.yml", output=output)
    assert (output / "checkpoint.ckpt").exists()
    monkeypatch.setattr(module, "training_step", fail)
    with pytest.raises(ZeroDivisionError):
        RUN[kind](stopped / f"{kind}.yml", output=output)
