"""``uxnet demo-data``: a small generated data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo_data(
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    cases: Annotated[int, typer.Option(help="Training cases.")] = 24,
    dims: Annotated[int, typer.Option(help="3 for volumes, 2 for images.")] = 3,
    channels: Annotated[int, typer.Option(help="Image channels.")] = 1,
    anisotropic: Annotated[bool, typer.Option("--anisotropic", help="Thick slices.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed makes the same data.")] = 0,
) -> None:
    """Generate a small data set to try things on.

    Writes dataset.json, imagesTr and labelsTr: organs of different size and texture, with noise and
    a bias field, in the layout that every other command reads.

    Example: uxnet demo-data demo/data --cases 24
    """
    from ..dataset.demo_data import make_demo_data

    make_demo_data(
        folder, num_cases=cases, spatial_dims=dims, num_channels=channels, anisotropic=anisotropic, seed=seed
    )
    typer.echo(f"wrote {cases} case(s) to {folder}; next: uxnet auto {folder} -o runs/demo --hours 0.2")
