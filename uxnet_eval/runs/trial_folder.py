"""A trial without a manager: its folder brings the parameters and takes the results.

The array task of a SLURM job starts such a trial; the environment names its folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_space.errors import UserError
from search_space.reading import read_json

from .files import write_json, write_text
from .names import FINAL_NAME, INTERMEDIATE_NAME, PARAMETERS_NAME

TRIAL_VARIABLE = "UXNET_TRIAL"
"""The environment variable that names the folder."""


class TrialFolder:
    """The folder of one trial.

    Args:
        path: the folder, which is the output folder of the run too.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def of_process(cls) -> TrialFolder | None:
        """The folder of the trial that this process is; None if it is none of this kind."""
        named = os.environ.get(TRIAL_VARIABLE)
        return cls(named) if named else None

    def parameters(self) -> dict[str, Any]:
        """The trial's parameters; :class:`UserError` if the file is missing or damaged."""
        path = self.path / PARAMETERS_NAME
        try:
            values = read_json(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: the trial's parameters cannot be read ({error})") from None
        return dict(values)

    def report_intermediate(self, metrics: Mapping[str, float]) -> None:
        """Adds a point to the trial's curves."""
        with (self.path / INTERMEDIATE_NAME).open("a") as file:
            file.write(json.dumps(dict(metrics)) + "\n")

    def keep_intermediates(self, count: int) -> None:
        """Drops the points after the first ``count``: those that a resumed run reports again."""
        write_text(self.path / INTERMEDIATE_NAME, "".join(f"{line}\n" for line in self._lines()[:count]))

    def newest_intermediate(self) -> dict[str, float] | None:
        """The newest point; None if there is none yet."""
        for line in reversed(self._lines()):
            try:
                return dict(json.loads(line))
            except ValueError:  # half a line: it is being written
                continue
        return None

    def report_final(self, metrics: Mapping[str, float]) -> None:
        """Keeps the final result."""
        write_json(self.path / FINAL_NAME, dict(metrics))

    def final(self) -> dict[str, float] | None:
        """The final result; None if there is none yet."""
        try:
            return dict(read_json(self.path / FINAL_NAME))
        except (OSError, ValueError):
            return None

    def _lines(self) -> list[str]:
        try:
            return (self.path / INTERMEDIATE_NAME).read_text().splitlines()
        except OSError:
            return []
