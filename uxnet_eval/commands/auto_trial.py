"""``uxnet auto-trial``: what NNI starts for ``uxnet auto --nni``; hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def auto_trial(
    folder: Annotated[Path, typer.Argument(help="The output folder of uxnet auto.")],
) -> None:
    """Run the training that NNI has given this process."""
    from ..auto.trainings import run_trial

    run_trial(folder)
