"""``uxnet latency``: measures the latencies of a search's networks on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import progress_bar


def latency(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Output folder of a search with strategy: single-path.")
    ],
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda. Default: the device of the search.")
    ] = None,
) -> None:
    """Measure latencies on this machine, and put them into the front of a search.

    The search measures them on its own machine. Repeat it where the networks will run, or when the
    machine was busy. It takes about half a minute: each operation alone, then whole networks, which
    show how good the prediction is. A search with a limit of latency needs longer: each of its
    networks is measured.

    Example: uxnet latency runs/front
    """
    from rich.console import Console

    from ..recipe.quiet import quieten
    from ..search.front_page import front_table
    from ..search.latencies import measure_anew

    quieten()
    with progress_bar("networks") as progress:
        table, record = measure_anew(run, device, progress)
    for predicted, measured in table.checked_ms:
        typer.echo(f"whole network: predicted {predicted:.1f} ms, measured {measured:.1f} ms")
    record.check_latency()
    Console().print(front_table(record))
    longest = max(each.latency_ms or 0 for each in record.front())
    typer.echo(f"next: uxnet export {run} -o genotype.json --max-latency-ms {longest:.0f}")
