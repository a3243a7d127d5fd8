"""The results on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from .ledger import KINDS


def show(results: Mapping[str, Any], console: Console) -> None:
    """Prints machine, headline, sizes, where the time goes, and the fixed networks, as far as they were measured."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    console.print(
        f"{machine['processor']}, {machine['device']}, {machine['num_threads']} threads of {machine['num_cores']} cores, "
        f"{machine['memory_gib']} GiB, {' '.join(machine['instructions'])}; Python {machine['python']}, {versions}"
    )
    if "search" in results:
        _show_search(results["search"], console)
    if "networks" in results:
        networks = results["networks"]
        table = _table(
            "Fixed networks",
            "network",
            "what",
            "parameters",
            "time (s)",
            "memory (GiB)",
            "GMAC",
            "share of peak",
        )
        for row in sorted(networks["rows"], key=lambda row: row["what"]):
            table.add_row(
                row["network"],
                row["what"],
                f"{row['parameters']:,}",
                f"{row['median_s']:.3f}",
                f"{row['memory_gib']:.2f}",
                f"{row['multiply_adds'] / 1e9:.1f}",
                f"{row['share_of_peak']:.0%}",
            )
        console.print(table)


def _show_search(search: Mapping[str, Any], console: Console) -> None:
    peak = search["peak_multiply_adds_per_s"]
    console.print(
        f"matrix-multiply peak: bfloat16 {peak['bfloat16'] / 1e9:.0f}, float32 {peak['float32'] / 1e9:.0f} "
        f"billion multiply-adds per second; times are {search['time']}; load average {search['load_average']}"
    )
    forms = search["headline"]["forms"]
    if forms:
        grid = search["grid"]
        table = _table(
            f"Search step: {grid['levels']} levels, {grid['channels']} base channels, batch {grid['batch_size']} of "
            f"{grid['headline_patch']}^3",
            "form", "time (s)", "memory (GiB)", "GMAC", "share of peak", "folded is faster", "folded's memory",
        )  # fmt: skip
        for form, row in forms.items():
            ratio = search["headline"]["folded_against"].get(form)
            table.add_row(
                row["title"],
                f"{row['median_s']:.2f}",
                f"{row['memory_gib']:.2f}",
                f"{row['multiply_adds'] / 1e9:.0f}",
                f"{row['share_of_peak']:.0%}",
                f"{ratio['times_faster']:.2f}x" if ratio else "",
                f"{ratio['memory_share']:.0%}" if ratio else "",
            )
        console.print(table)
        table = _table("Where the time goes (share of the step)", "kind", *forms)
        for kind in KINDS:
            shares = [
                row["ledger"]["seconds"][kind] / sum(row["ledger"]["seconds"].values())
                for row in forms.values()
            ]
            table.add_row(kind, *(f"{share:.1%}" for share in shares))
        console.print(table)
    table = _table(
        "All sizes", "form", "patch", "channels", "edges", "time (s)", "us per voxel", "memory (GiB)"
    )
    for row in search["cells"]:
        table.add_row(
            row["form"],
            str(row["patch"]),
            str(row["channels"]),
            str(row["num_edges"] or "all"),
            f"{row['median_s']:.2f}",
            f"{row['microseconds_per_voxel']:.1f}",
            f"{row['memory_gib']:.2f}",
        )
    console.print(table)
    for cell, reason in search["skipped"].items():
        console.print(f"skipped {cell}: {reason}")
    for form, exponents in search["linearity"].items():
        for name, exponent in exponents.items():
            console.print(f"{form}: {name.replace('_', ' ')} {exponent:.2f} (1 is linear)")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table
