"""The state that a run goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class SavedState:
    """The content of a checkpoint, verified while it was read, and where it comes from.

    It is read once and handed over, since a checkpoint can be large.
    """

    path: Path
    content: Any

    def __str__(self) -> str:
        return str(self.path)

    def hand_over(self) -> Any:
        """The content, which is then held by the caller alone."""
        content, self.content = self.content, None
        return content
