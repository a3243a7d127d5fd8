"""``model.json``: which checkpoints of a folder segment new scans together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search_space.errors import UserError
from search_space.reading import read_json

from .files import write_json
from .names import BEST_NAME, MODEL_NAME

FORMAT, VERSION = "uxnet-ensemble", 1


def write_model_file(folder: Path, checkpoints: Sequence[Path]) -> None:
    """Writes ``model.json`` into ``folder``; paths within the folder are kept relative to it."""
    names = [str(path.relative_to(folder)) for path in checkpoints]
    write_json(folder / MODEL_NAME, {"format": FORMAT, "version": VERSION, "checkpoints": names})


def model_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder of ``uxnet auto``, or the best one of a training's folder.

    Raises:
        UserError: if the folder holds no model yet, or its file is damaged.
    """
    path = folder / MODEL_NAME
    if not path.is_file() and (folder / BEST_NAME).is_file():
        return [folder / BEST_NAME]
    try:
        values = read_json(path)
        if values["format"] != FORMAT or values["version"] != VERSION:
            raise ValueError("another format or version")
        names = values["checkpoints"]
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError("names no checkpoints")
    except OSError:
        raise UserError(
            f"{folder}: holds no model ({MODEL_NAME} or {BEST_NAME}); give a folder that uxnet auto or uxnet train has "
            "finished, or files with --checkpoint"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is damaged ({error}); run uxnet auto again with --from train") from None
    return [folder / name for name in names]
