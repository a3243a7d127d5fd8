"""What several commands share: an argument, a progress bar, and care for existing files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search_space.errors import UserError

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="Folder with dataset.json, as in the Medical Segmentation Decathlon or nnU-Net."
    ),
]

RunOutput = Annotated[
    Path | None, typer.Option(help="Folder for the results. An NNI trial uses its own folder instead.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Replace one setting of the configuration; repeat it for several."
    ),
]

FromCheckpoint = Annotated[
    Path | None,
    typer.Option(
        help="Begin with the state of another run of the same data and network: its checkpoint.ckpt. Learning rates, "
        "weights of the loss and the number of epochs may differ."
    ),
]


def refuse_existing(path: Path, force: bool) -> None:
    """Raises :class:`UserError` if ``path`` exists, unless forced, or its folder does not."""
    if path.exists() and not force:
        raise UserError(f"{path}: exists already; give another name, or --force to overwrite it")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; make it first")


@contextlib.contextmanager
def progress_bar(description: str) -> Iterator[Callable[[float, int], None]]:
    """A function of (number done, total) that moves a progress bar on a terminal's stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda num_done, total: bar.update(task, completed=num_done, total=total)
