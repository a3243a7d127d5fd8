"""``python -m benchmarks``: measures everything side by side and writes a table, JSON and a picture."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from .cells import QUICK_GRID, SearchGrid

RESULTS = Path(__file__).parent / "results"


class Part(str, Enum):
    """What can be measured alone."""

    search = "search"
    edges = "edges"
    networks = "networks"


def main(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the JSON and the picture.")
    ] = RESULTS,
    only: Annotated[list[Part] | None, typer.Option(help="Measure this part alone; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option(help="Toy sizes, one round: shows that it works.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0: one per core.")] = 0,
) -> None:
    """Speed and memory of the search step and of fixed networks on this machine, beside their rivals."""
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    from .device import load_average, machine
    from .isolation import isolated
    from .network_part import QUICK_NETWORKS, NetworkGrid, measure_networks
    from .picture import draw
    from .search_part import SearchMeasurements
    from .table import show

    console = Console(highlight=False)
    parts = only or list(Part)
    num_threads = threads or psutil.cpu_count(logical=False) or 1
    results: dict[str, Any] = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": isolated(
            machine, num_threads
        ).value,  # it looks for a GPU, which this process must not touch
        "load_average_at_start": load_average(),
        "quick": quick,
    }

    def save() -> None:
        results["ended"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        _write(stem.with_suffix(".json"), json.dumps(results, indent=1).encode())
        _write(stem.with_suffix(".png"), draw(results))

    output.mkdir(parents=True, exist_ok=True)
    stem = output / f"speed-{results['machine']['device_type']}"
    if Part.networks in parts:
        networks = QUICK_NETWORKS if quick else NetworkGrid()
        results["networks"] = measure_networks(networks, num_threads, console.print)
        save()
    grid = QUICK_GRID if quick else SearchGrid()
    cells = (grid.size_cells() if Part.search in parts else []) + (
        grid.edge_cells() if Part.edges in parts else []
    )
    if cells:
        measurements = SearchMeasurements(grid, num_threads, console.print)
        for _ in measurements.rounds(cells):
            results["search"] = measurements.results()
            save()
    show(results, console)
    console.print(f"written to {stem}.json and .png")


def _write(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


if __name__ == "__main__":
    typer.run(main)
