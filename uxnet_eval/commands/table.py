"""``uxnet table``: the paper's two tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def table(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="NNI experiments by id or folder, output folders of contests or trainings, or folders that hold such "
            "folders; all of one data set.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for table1.md, .csv, .tex and .png, and table2; made if absent."
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the tables of before.")] = False,
) -> None:
    """Write the paper's tables: published figures, and your results beside them.

    The rows are in the paper's order. Table 1 says what the searched operations (SBB), the searched
    edges (MSSA) and the threshold tau add. Table 2 has the searched network beside others.
    Trainings that are not finished are named and left out.

    Example: uxnet table EXPERIMENT_ID -o tables/hippocampus
    """
    from ..paper_tables.writing import refuse_output

    refuse_output(output, force)
    print_and_write(sources, output)


def print_and_write(sources: list[str], output: Path) -> None:
    """Prints the tables of finished trainings, and writes their files."""
    from ..comparison.trainings import find_trainings
    from ..paper_tables.table import paper_tables
    from ..paper_tables.writing import explanation, terminal_table, write_tables
    from .compare import table_console

    tables = paper_tables(find_trainings(sources))
    written = write_tables(tables, output)
    for each in tables:
        table_console().print(terminal_table(each))
        for sentence in explanation(each):
            typer.echo(sentence)
        for note in each.notes:
            typer.echo(f"note: {note}", err=True)
    typer.echo(f"wrote {', '.join(str(path) for path in written)}; next: open {written[0]}")
