"""``python -m benchmarks``: measures everything side by side and writes a table, JSON and a picture."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from search_space.replacing import replacing

from .cells import QUICK_GRID, SearchGrid

RESULTS = Path(__file__).parent / "results"


class Part(str, Enum):
    """What can be measured alone."""

    search = "search"
    networks = "networks"


def main(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the JSON and the picture.")
    ] = RESULTS,
    only: Annotated[
        list[Part] | None,
        typer.Option(help="Measure this part alone and keep the other's figures, if they are there."),
    ] = None,
    quick: Annotated[bool, typer.Option(help="Toy sizes, one round: shows that it works.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0: one per core.")] = 0,
) -> None:
    """Speed and memory of the search step and of fixed networks on this machine, beside their rivals."""
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    from .device import machine
    from .isolation import isolated
    from .network_part import QUICK_NETWORKS, NetworkGrid, measure_networks
    from .picture import draw
    from .search_part import SearchMeasurements
    from .table import show

    console = Console(highlight=False)
    num_threads = threads or psutil.cpu_count(logical=False) or 1
    this_machine = isolated(
        machine, num_threads
    ).value  # it looks for a GPU, which this process must not touch
    output.mkdir(parents=True, exist_ok=True)
    stem = output / f"speed-{this_machine['device_type']}"
    results = _earlier(stem.with_suffix(".json"), this_machine) if only else {}
    results |= {"machine": this_machine, "quick": quick}
    parts = only or list(Part)

    def save(picture: bool = True) -> None:
        _write(stem.with_suffix(".json"), json.dumps(results, indent=1).encode())
        if picture:
            _write(stem.with_suffix(".png"), draw(results))

    if Part.networks in parts:
        networks = QUICK_NETWORKS if quick else NetworkGrid()
        started = _now()
        results["networks"] = measure_networks(networks, num_threads, console.print)
        results["networks"] |= {"started": started, "ended": _now()}
        save()
    if Part.search in parts:
        measurements = SearchMeasurements(QUICK_GRID if quick else SearchGrid(), num_threads, console.print)
        started = _now()
        for _ in measurements.rounds():
            results["search"] = measurements.results() | {"started": started, "ended": _now()}
            save(picture=False)
    save()
    show(results, console)
    console.print(f"written to {stem}.json and .png")


def _earlier(path: Path, this_machine: dict[str, Any]) -> dict[str, Any]:
    """The results in ``path`` if they are of the same machine and versions: the parts that are not measured anew."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return results if results.get("machine") == this_machine else {}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as part:
        part.write_bytes(content)


if __name__ == "__main__":
    typer.run(main)
