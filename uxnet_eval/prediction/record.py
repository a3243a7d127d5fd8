"""``prediction.json`` in the output folder: what predicted, how, and which cases are finished.

By it a second run knows which label maps it may keep, and that they are of the same networks and
settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from search_space.checksum import with_checksum
from search_space.errors import UserError
from search_space.reading import read_json
from search_space.strict import StrictConfig

from ..runs.names import PREDICTION_NAME
from .label_map import replacing_output

ADVICE = "give another folder, or --overwrite to predict every case anew"


class PredictionRecord(StrictConfig):
    """What ``prediction.json`` holds."""

    model_config = ConfigDict(frozen=False)  # ``finished`` grows with every case

    checkpoints: dict[str, str]
    """SHA-256 of each file, by its path as given."""
    settings: dict[str, Any]
    """Whatever changes the predictions."""
    label_values: dict[str, int]
    """The value in the label maps of each class."""
    finished: list[str] = Field(default_factory=list)
    """Case ids in the order in which they were written."""

    def save(self, folder: Path) -> None:
        """Writes it, whole or not at all.

        Raises :class:`~uxnet_eval.prediction.label_map.OutputError` if it cannot.
        """
        path = folder / PREDICTION_NAME
        with replacing_output(path) as temporary:
            temporary.write_text(
                json.dumps(with_checksum(self.model_dump()), indent=2) + "\n", encoding="utf-8"
            )

    def resume(self, folder: Path, outputs: Mapping[str, Sequence[Path]], overwrite: bool = False) -> None:
        """Takes over the finished cases of an earlier run into the same folder.

        Args:
            folder: of the outputs.
            outputs: by case id, the files that make a case finished.
            overwrite: these cases are to be predicted anew, whatever the folder holds.

        Raises:
            UserError: the earlier run had other checkpoints or settings, or the folder has label
                maps of another origin.
        """
        try:
            earlier = self._earlier(folder, outputs)
        except UserError:
            if not overwrite:
                raise
            return
        self.finished = [
            case_id
            for case_id in (earlier.finished if earlier else [])
            if case_id not in outputs or (not overwrite and all(file.is_file() for file in outputs[case_id]))
        ]

    def _earlier(self, folder: Path, outputs: Mapping[str, Sequence[Path]]) -> PredictionRecord | None:
        """The record in ``folder``, if it is of the same checkpoints and settings."""
        path = folder / PREDICTION_NAME
        if not path.is_file():
            for file in (file for files in outputs.values() for file in files):
                if file.exists():
                    raise UserError(
                        f"{file}: exists already, but no {PREDICTION_NAME} says that uxnet predict wrote it; {ADVICE}"
                    )
            return None
        try:
            values = read_json(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}), expected the record of an earlier run; {ADVICE}"
            ) from None
        try:
            earlier: PredictionRecord = PredictionRecord.parse(
                values, f"{path}: not the record of an earlier run"
            )
        except UserError as error:
            raise UserError(f"{error}; {ADVICE}") from None
        if sorted(earlier.checkpoints.values()) != sorted(self.checkpoints.values()):
            raise UserError(
                f"{folder}: holds predictions of {', '.join(earlier.checkpoints)}, expected of "
                f"{', '.join(self.checkpoints)} (their contents differ); {ADVICE}"
            )
        for name, value in self.settings.items():
            if earlier.settings.get(name) != value:
                raise UserError(
                    f"{folder}: holds predictions with {name} {earlier.settings.get(name)}, expected {value} as asked "
                    f"for now; {ADVICE}"
                )
        return earlier


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
