"""The experiments that come with the project, and copies of them that run anywhere.

In a checkout they are the folder ``experiments/``; the wheel holds the same files as
``uxnet_eval/_experiments``.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from search_space.errors import UserError, nearest

from ..runs.folder import make_output_folder

_RUN_ENDING = ".run.yml"
_SHIPPED_FILE = re.compile(r"\bexperiments/([\w./+-]*\w)")
"""A shipped file, as one shipped file names another: from the folder in which trials run."""
_COMMAND = re.compile(
    r"^# The activated environment comes first.*\n"
    r"trialCommand: >-\n"
    r" +PATH=\S+ python3 -m uxnet_eval\.cli (?P<verb>\w+) --config experiments/(?P<config>\S+)$",
    re.MULTILINE,
)
_CODE_FOLDER = re.compile(r"^trialCodeDirectory: .*$", re.MULTILINE)
_PLAIN_PATH = re.compile(r"[\w .+/-]*")


def shipped_folder() -> Path:
    """The folder of the shipped experiments, in the installed package or in the checkout.

    Raises:
        UserError: if neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_experiments", package.parent / "experiments"):
        if folder.is_dir():
            return folder
    raise UserError(f"{package}: holds no experiments; install uxnet-search again")


def list_experiments() -> dict[str, str]:
    """Name and description (the file's first line) of each shipped experiment, sorted."""
    files = sorted(shipped_folder().glob("*.yml"), key=lambda path: path.stem)
    return {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for path in files
        if not path.name.endswith(_RUN_ENDING)
    }


def copy_experiment(name: str, output: Path, *, force: bool = False) -> list[Path]:
    """Copies the experiment and the files that it names; returns the copies in this order.

    Its trials will run in the current folder if ``output`` lies in it, otherwise in ``output``.

    Args:
        name: one of :func:`list_experiments`.
        output: folder for the copies; made if it is missing.
        force: overwrite files that exist.

    Raises:
        UserError: if there is no such experiment, a file exists already, or the folder cannot be
            written to.
    """
    known = list_experiments()
    if name not in known:
        raise UserError(
            f"no experiment '{name}' is shipped{nearest(name, known)}; uxnet experiments list names all"
        )
    folder = output.resolve()
    trial_folder = Path.cwd() if folder.is_relative_to(Path.cwd()) else folder
    copies = copy_files([f"{name}.yml"], folder, trial_folder, force=force)
    return [output / path.relative_to(folder) for path in copies]


def copy_files(names: Iterable[str], output: Path, trial_folder: Path, *, force: bool = False) -> list[Path]:
    """Copies shipped files and, recursively, those that they name; returns the copies.

    Paths in the copies are those of the copies, relative to ``trial_folder``. Trials use this
    interpreter.

    Args:
        names: files in :func:`shipped_folder`.
        output: absolute folder for the copies, in ``trial_folder``; made if it is missing.
        trial_folder: absolute folder in which trials will run and look for their data.
        force: overwrite files that exist.

    Raises:
        UserError: if a file exists already, or the folder cannot be written to.
    """
    place = output.relative_to(trial_folder).as_posix()
    if not _PLAIN_PATH.fullmatch(place):
        raise UserError(f"{output}: expected letters, digits, spaces and . _ + - in the path; give another")
    prefix = "" if place == "." else f"{place}/"
    source, queue, texts = shipped_folder(), list(names), dict[str, str]()
    while queue:
        name = queue.pop(0)
        if name in texts:
            continue
        text = (source / name).read_text(encoding="utf-8")
        if name.endswith(".yml"):
            queue += [found for found in _SHIPPED_FILE.findall(text) if (source / found).is_file()]
            text = _moved(text, prefix, os.path.relpath(trial_folder, output))
        texts[name] = text
    for name in texts:
        if (output / name).exists() and not force:
            raise UserError(
                f"{output / name}: exists already; give another folder, or --force to overwrite it"
            )
    make_output_folder(output)
    for name, text in texts.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text(text, encoding="utf-8")
    return [output / name for name in texts]


def _moved(text: str, prefix: str, trial_folder: str) -> str:
    """A shipped YAML file with the paths of its copy and, in an experiment, this interpreter."""

    def command(found: re.Match[str]) -> str:
        config = shlex.quote(prefix + found["config"])
        return (
            "# The Python of the environment that copied this file.\n"
            "trialCommand: >-\n"
            f"  {shlex.quote(sys.executable)} -m uxnet_eval.cli {found['verb']} --config {config}"
        )

    text = _COMMAND.sub(command, text)
    text = _CODE_FOLDER.sub(lambda _: f"trialCodeDirectory: {trial_folder}", text)
    return _SHIPPED_FILE.sub(lambda found: prefix + found[1], text)
