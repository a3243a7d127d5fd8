"""The output folder of a run: made for one configuration, and continued only by the same."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_space.errors import UserError
from search_space.reading import parse_yaml, read_yaml
from search_space.replacing import leftovers

from .files import write_text
from .names import (
    CACHE_FOLDER,
    CHECKPOINT_NAME,
    CONFIG_NAME,
    FOLDS_NAME,
    GENOTYPE_NAME,
    LATENCY_NAME,
    LOCK_NAME,
    TENSORBOARD_FOLDER,
    previous_checkpoint,
)
from .processes import is_helper
from .saved_state import SavedState
from .verified_reading import load_verified

logger = logging.getLogger(__name__)

STARTED_WITH = frozenset(
    {CONFIG_NAME, FOLDS_NAME, GENOTYPE_NAME, CACHE_FOLDER, TENSORBOARD_FOLDER, LOCK_NAME}
)
"""What a run writes before its first checkpoint."""
UNOPENED = frozenset({LOCK_NAME, CACHE_FOLDER, TENSORBOARD_FOLDER, LATENCY_NAME})
"""What may be there before a run's first process opens the folder: files of its other processes, or
the table of latencies of the contest that it is part of."""


def choose_output_folder(configured: str | None, given: Path | None, trial: Path | None) -> Path:
    """The output folder of a run: the trial's own, the one given, or the configuration's.

    Raises:
        UserError: if there is none.
    """
    if trial is not None:
        return trial
    if given is None and configured is None:
        raise UserError("no output folder: give --output, or 'output' in the run configuration")
    return Path(given or str(configured))


def make_output_folder(folder: Path) -> None:
    """Makes the folder if it is missing.

    Raises :class:`UserError` if that cannot be, or it cannot be written to.
    """
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
) -> SavedState | None:
    """Prepares the output folder and returns the state to go on from, None for a fresh start.

    A further process of a run leaves the folder to the first one, which may not have opened it yet.

    Args:
        folder: the output folder; made if it is missing.
        config_yaml: the resolved configuration, kept there as ``run.yml``. Settings of the machine
            may be others than in the run so far: those of now are kept.
        defaults: the settings' defaults by full name (``search.epochs``); a setting that is newer
            than a kept ``run.yml`` had its default in that run.
        is_trial: a trial's own folder, in which what started it keeps files too.

    Raises:
        UserError: if the folder holds something else, or another run that has saved a state:
            nothing is overwritten.
    """
    if is_helper():
        return _newest_sound(folder / CHECKPOINT_NAME)
    kept = folder / CONFIG_NAME
    if kept.exists():
        try:
            before = read_yaml(kept)
            if not isinstance(before, dict):
                raise ValueError("no keys and values")
        except (OSError, ValueError) as error:
            raise UserError(
                f"{kept}: the configuration of the run is damaged ({error}); give another output folder, or write "
                f"{CONFIG_NAME} again if you have it"
            ) from None
        now = parse_yaml(config_yaml)
        changed = differences(before, now, defaults)
        if changed and _has_saved_nothing(folder):
            logger.info(
                "%s: the run in it ended before it had saved anything; beginning with the new values of %s",
                folder,
                ", ".join(changed),
            )
            for name in (FOLDS_NAME, GENOTYPE_NAME):  # they follow from the settings
                (folder / name).unlink(missing_ok=True)
            write_text(kept, config_yaml)
        elif changed:
            raise UserError(
                f"{folder}: holds another run, with other values of {', '.join(changed)}; "
                "give another output folder, or the same configuration to continue it"
            )
        elif before != now:  # the processes that are started for further devices read it
            write_text(kept, config_yaml)
    else:
        others = [path for path in folder.iterdir() if path.name not in UNOPENED] if folder.is_dir() else []
        # A start that was killed while it wrote the configuration leaves the temporary file.
        others = [path for path in others if path not in leftovers(kept)]
        if others and not is_trial:
            raise UserError(f"{folder}: is not empty and holds no run; give another output folder")
        make_output_folder(folder)
        write_text(kept, config_yaml)
    return _newest_sound(folder / CHECKPOINT_NAME)


def _has_saved_nothing(folder: Path) -> bool:
    """Whether the folder holds only what a start leaves that failed before its first checkpoint."""
    return all(path.name in STARTED_WITH for path in folder.iterdir())


def _newest_sound(newest: Path) -> SavedState | None:
    """The state in the newest checkpoint whose checksums are right; None if there is none at all.

    Raises:
        UserError: if all that there are are damaged.
    """
    faults = []
    for path in (newest, previous_checkpoint(newest)):
        try:
            state = SavedState(path, load_verified(path))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            faults.append(f"{path}: is truncated, damaged or no checkpoint ({error})")
            continue
        if faults:
            logger.warning("%s; going on from the checkpoint before it, %s", faults[0], path.name)
        return state
    if faults:
        raise UserError(
            f"{'; '.join(faults)}; copy it from a backup, or delete it to start the run again from the beginning"
        )
    return None


def differences(kept: Mapping[str, Any], new: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """The settings in which two resolved configurations differ, without those of the machine."""
    first, second = {**defaults, **flat_settings(kept)}, flat_settings(new)
    names = sorted(first.keys() | second.keys())
    return [
        name
        for name in names
        if first.get(name) != second.get(name) and not name.startswith(("runtime.", "output"))
    ]


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names, such as ``train.epochs``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
