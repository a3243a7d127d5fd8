"""Every command where the home folder cannot be used, and where nobody takes what it prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from finished_trainings import made_up_training
from torture.inputs import prepare
from torture.managers import EXPERIMENT

from uxnet_eval import cli

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "check": ("data",),
    "auto": ("data", "-o", "auto", "--hours", "0.5", "--dry-run"),
    "report": ("trained", "-o", "report.html"),
    "predict": ("-i", "scans", "-o", "predicted", "--checkpoint", "trained/best.pt"),
    "evaluate": ("segmented", "--references", "data/labelsTr", "-o", "scores"),
    "plan": ("data", "-o", "plan.yml"),
    "search": ("--config", "search.yml", "--output", "searched"),
    "front": ("found",),
    "latency": ("found",),
    "export": ("found", "-o", "exported.json"),
    "draw": ("genotype.json", "-o", "drawn.png"),
    "train": ("--config", "train.yml", "--output", "network"),
    "launch": ("experiment.yml",),
    "status": ("nothing",),
    "cancel": ("nothing",),
    "derive": ("found", "-o", "derived"),
    "contest": ("--config", "contest.yml", "--output", "contest"),
    "compare": ("first", "second", "-o", "compared"),
    "table": ("first", "second", "-o", "tables"),
    "demo": ("train.yml",),  # a folder would take minutes
    "demo-data": ("new-data",),
    "convert isic": ("scans", "-o", "isic"),
    "convert acdc": ("scans", "-o", "acdc"),
    "experiments list": (),
    "experiments copy": ("demo", "-o", "copied"),
}
"""What each command is called with, in the folder ``place``."""
WORKS = {
    *(
        "check",
        "auto",
        "report",
        "predict",
        "evaluate",
        "plan",
        "search",
        "export",
        "draw",
        "table",
        "train",
        "derive",
    ),
    *("contest", "compare", "demo-data", "experiments list", "experiments copy"),
}
"""The commands that need no home folder and have what they need; the others end with one line."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Something for each command to read."""
    folder = prepare(_new(tmp_path_factory.mktemp("every") / "place"), GOLDEN)
    shutil.copytree(folder / "data" / "labelsTr", folder / "segmented")
    (folder / "experiment.yml").write_text(yaml.safe_dump(EXPERIMENT))
    for name, architecture in (("first", "searched"), ("second", "dynunet")):
        made_up_training(folder / name, architecture, {"A": (0.5, 0.6), "B": (0.7, 0.4)})
    return folder


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def every_command() -> Iterator[str]:
    """Every command that ``uxnet --help`` leads to, those of groups included."""

    def walk(command: Any, names: tuple[str, ...]) -> Iterator[str]:
        inner = getattr(command, "commands", None)
        if inner is None:
            if not command.hidden:
                yield " ".join(names)
        else:
            for name, each in inner.items():
                yield from walk(each, (*names, name))

    return walk(typer.main.get_command(cli.app), ())


def uxnet(
    words: str, place: Path, redirection: str = "", first: str = "", **variables: str | None
) -> subprocess.CompletedProcess[str]:
    """Runs a command line of the shell; None deletes a variable of the environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        ["bash", "-c", f"{first} '{sys.executable}' -m uxnet_eval.cli {words} {redirection}"],
        cwd=place,
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=600,
    )


def fault(run: subprocess.CompletedProcess[str]) -> str:
    """What is wrong with how a command ended; empty if it worked or said in one line why not."""
    lines = [line for line in run.stderr.splitlines() if line.startswith("uxnet: error: ")]
    if "Traceback" in run.stderr or "Exception ignored" in run.stderr:
        return "a traceback"
    if run.returncode not in (0, 1) or len(lines) != run.returncode:
        return f"exit code {run.returncode} with {len(lines)} lines of error"
    return ""


def test_every_command_is_here() -> None:
    assert sorted(every_command()) == sorted(ARGUMENTS)


@pytest.mark.parametrize("command", ["", *sorted(every_command())])
@pytest.mark.parametrize("redirection", [">&-", "> /dev/full"])
def test_help_that_nobody_takes(command: str, redirection: str) -> None:
    run = uxnet(f"{command} --help", ROOT, redirection)
    assert not fault(run), run.stderr
    assert run.returncode == (redirection == "> /dev/full"), run.stderr


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("command", sorted(ARGUMENTS))
@pytest.mark.parametrize("redirection", [">&-", "> /dev/full"])
def test_a_result_that_nobody_takes(command: str, redirection: str, place: Path, tmp_path: Path) -> None:
    """The command has done its work, or says in one line why not."""
    words = " ".join((command, *ARGUMENTS[command]))
    if command == "launch":  # a manager would be left behind
        words = "launch train.yml"
    shutil.copytree(place, tmp_path / "place", symlinks=True)
    run = uxnet(words, tmp_path / "place", redirection)
    assert not fault(run), run.stderr
    if redirection == ">&-" and command in WORKS:
        assert run.returncode == 0, run.stderr


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("command", sorted(ARGUMENTS))
def test_a_home_that_cannot_be_used(command: str, place: Path, tmp_path: Path) -> None:
    """It is missing and cannot be made, for root neither. NNI alone needs one.

    The umask lets nobody else read what is written, and that holds for every file.
    """
    shutil.copytree(place, tmp_path / "place", symlinks=True)
    before = set((tmp_path / "place").rglob("*"))
    run = uxnet(
        " ".join((command, *ARGUMENTS[command])),
        tmp_path / "place",
        first="umask 077;",
        HOME="/proc/nowhere",
        MPLCONFIGDIR=None,
        XDG_CACHE_HOME=None,
        XDG_CONFIG_HOME=None,
    )
    assert not fault(run), run.stderr
    assert run.returncode == (command not in WORKS), run.stderr
    new = [path for path in set((tmp_path / "place").rglob("*")) - before if not path.is_symlink()]
    assert not [path for path in new if path.stat().st_mode & 0o077]
    if command == "launch":
        assert "set HOME to a folder that can be written to" in run.stderr
