"""The wheel alone, in an environment of its own and outside any checkout: what a user of pip gets."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

from uxnet_eval.nni_experiments.shipped import list_experiments

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("search_space", "strategies", "uxnet_eval", "experiments", "tests", "docs", "benchmarks")


class Environment:
    """A virtual environment with the wheel, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.work = folder / "venv" / "bin", folder / "work"

    def run(self, program: str, *arguments: str, timeout_s: float = 400, merged: bool = False) -> str:
        """What ``program`` of the environment prints (``merged``: its errors too); fails the test if it fails."""
        hidden = ("PYTHONPATH", "VIRTUAL_ENV", "UXNET_DATA")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment["HOME"] = str(self.work.parent)  # where NNI keeps its experiments
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=self.work,
            env={**environment, "NO_COLOR": "1", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that is built from it, as ``make dist`` does."""
    sources = tmp_path_factory.mktemp("sources")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    for name in SOURCES:
        shutil.copytree(ROOT / name, sources / name, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, sources)
    output = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


@pytest.fixture(scope="module")
def installed(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel in a fresh environment that borrows the other packages from this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True)
    environment = Environment(folder)
    environment.work.mkdir()
    (wheel,) = distributions.glob("*.whl")
    environment.run("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    packages = environment.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    # A plain line adds the folder to sys.path and, unlike site.addsitedir, runs none of the .pth files in it.
    borrowed = sysconfig.get_path("purelib")
    (Path(packages.strip()) / "borrowed.pth").write_text(f"{borrowed}\n")
    nnictl = Path(borrowed).parents[2] / "bin" / "nnictl"
    script = nnictl.read_text().split("\n", 1)[1]
    (environment.bin / "nnictl").write_text(f"#!{environment.bin / 'python'}\n{script}")
    (environment.bin / "nnictl").chmod(0o755)
    return environment


def test_every_package_comes_from_the_environment_and_none_from_the_checkout(installed: Environment) -> None:
    script = (
        "import sys, search_space, strategies, uxnet_eval\n"
        "print(*(m.__file__ for m in (search_space, strategies, uxnet_eval)), '--', *sys.path, sep='\\n')"
    )
    files, _, path = installed.run("python", "-c", script).partition("--")
    assert all(line.startswith(str(installed.bin.parent)) for line in files.split())
    folders = [Path(line).resolve() for line in path.split("\n") if line]
    assert ROOT not in folders
    assert not [folder for folder in folders if ROOT in folder.parents and ".venv" not in folder.parts]


def test_wheel_holds_every_experiment_that_the_checkout_has(installed: Environment) -> None:
    printed = installed.run("uxnet", "experiments", "list")
    for name, description in list_experiments().items():
        assert any(line.split(maxsplit=1) == [name, description] for line in printed.splitlines()), printed
        copied = installed.run("uxnet", "experiments", "copy", name, "-o", f"copies/{name}").splitlines()
        assert copied[0] == f"copies/{name}/{name}.yml"
        assert "experiments/" not in (installed.work / copied[0]).read_text()


def test_sdist_can_build_and_test(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"constraints.txt", "Makefile", "experiments/brain.run.yml", "tests/conftest.py", "docs/data.md"}
    assert wanted <= held


@pytest.mark.long
def test_nnictl_starts_a_copy_and_its_trial_ends_well(installed: Environment) -> None:
    """With nothing activated: the copy itself names the environment's Python."""
    installed.run("uxnet", "demo-data", "demo-data")
    installed.run("uxnet", "experiments", "copy", "demo", "-o", "mine")
    run = installed.work / "mine" / "demo.run.yml"
    text = (
        run.read_text()
        .replace("epochs: 30", "epochs: 1")
        .replace("steps_per_epoch: 16", "steps_per_epoch: 1")
    )
    run.write_text(text.replace("warmup_epochs: 8", "warmup_epochs: 0"))
    command = ("create", "--config", "mine/demo.yml", "--port", str(free_port()))
    printed = re.sub(r"\x1b\[[0-9;]*m", "", installed.run("nnictl", *command, merged=True))
    (experiment_id,) = set(re.findall(r"Experiment ID:\s*([\w-]+)", printed))
    try:
        script = (
            "from uxnet_eval.nni_experiments.progress import wait_until_done\n"
            f"record = wait_until_done({experiment_id!r})\n"
            "print(*(trial.status for trial in record.trials()))"
        )
        assert installed.run("python", "-c", script).split() == ["SUCCEEDED"] * 2
    finally:
        installed.run("nnictl", "stop", experiment_id)


@pytest.mark.long
def test_demo_runs_and_says_what_to_type_next(installed: Environment) -> None:
    experiments = installed.work / "shown" / "run" / "nni"
    try:
        printed = installed.run("uxnet", "demo", "shown", "--quick", timeout_s=1200)
        for name in ("run/architecture.png", "run/genotype.json", "predicted/demo_000.nii.gz"):
            assert (installed.work / "shown" / name).is_file(), printed
        for label in ("searched", "U-Net"):
            assert f"┃ {label} " in " ".join(printed.replace("┃", "┃ ").split()), printed
        (page,) = [line for line in printed.splitlines() if line.startswith("NNI's page: ")]
        assert "http://127.0.0.1:" in page
        assert printed.splitlines()[-1].startswith("next: uxnet check DATA, then uxnet auto "), printed
    finally:
        for folder in filter(Path.is_dir, experiments.glob("*")):
            installed.run("nnictl", "stop", folder.name)


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
