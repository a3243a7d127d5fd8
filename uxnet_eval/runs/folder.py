"""The output folder of a run: made for one configuration, and continued only by the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from search_space.errors import UserError

from .files import write_text
from .names import CHECKPOINT_NAME, CONFIG_NAME


def choose_output_folder(configured: str | None, given: Path | None, *, is_trial: bool) -> Path:
    """The folder that a run writes to: an NNI trial's own, else the one given, else the configuration's.

    Raises:
        UserError: if there is none.
    """
    if is_trial:
        return Path(os.environ["NNI_OUTPUT_DIR"])
    if given is None and configured is None:
        raise UserError("no output folder: give --output, or 'output' in the run configuration")
    return Path(given or str(configured))


def make_output_folder(folder: Path) -> None:
    """Makes the folder if it is missing; raises :class:`UserError` if that cannot be, or it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"{folder}: is a file; give another output folder") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); give another output folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: cannot be written to; give another output folder")


def open_run_folder(
    folder: Path, config_yaml: str, defaults: Mapping[str, Any], *, is_trial: bool
) -> Path | None:
    """Prepares the output folder and returns the checkpoint to go on from, None for a fresh start.

    Args:
        folder: the output folder; made if it is missing.
        config_yaml: the resolved configuration, kept there as ``run.yml``.
        defaults: the settings' defaults by full name (``search.epochs``); a setting that is newer
            than a kept ``run.yml`` had its default in that run.
        is_trial: an NNI trial's own folder, in which NNI keeps files too.

    Raises:
        UserError: if the folder holds something else, or another run: nothing is overwritten.
    """
    kept = folder / CONFIG_NAME
    if kept.exists():
        changed = _differences(kept.read_text(), config_yaml, defaults)
        if changed:
            raise UserError(
                f"{folder}: holds another run, with other values of {', '.join(changed)}; "
                "give another output folder, or the same configuration to continue it"
            )
    else:
        others = [path for path in folder.iterdir() if path.name != ".lock"] if folder.is_dir() else []
        if others and not is_trial:
            raise UserError(f"{folder}: is not empty and holds no run; give another output folder")
        make_output_folder(folder)
        write_text(kept, config_yaml)
    checkpoint = folder / CHECKPOINT_NAME
    return checkpoint if checkpoint.exists() else None


def _differences(kept: str, new: str, defaults: Mapping[str, Any]) -> list[str]:
    """The names of the settings in which two resolved configurations differ, machine settings left out."""
    first, second = {**defaults, **_flat(yaml.safe_load(kept))}, _flat(yaml.safe_load(new))
    names = sorted(first.keys() | second.keys())
    return [
        name
        for name in names
        if first.get(name) != second.get(name) and not name.startswith(("runtime.", "output"))
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
