"""The paper's tables as Markdown, CSV, LaTeX and a picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from search_space.errors import UserError

from ..comparison.display import short_number
from ..runs.csv_cells import cell
from ..runs.files import write_files
from .picture import table_picture
from .published import DATA_TITLES
from .table import PaperRow, PaperTable

ENDINGS = ("md", "csv", "tex", "png")
YES, NO, NONE = "✓", "×", "-"
_LATEX = {YES: r"$\checkmark$", NO: r"$\times$", "±": r"$\pm$"}
_IN_TERMINAL = ("network", "Dice %", "95 %", "runs", "multiply-adds", "search minutes")
"""Columns of the table in the terminal, besides the published figures; the files hold all."""


def heading_published(table: PaperTable) -> str:
    """Heading of the published figures; it names their data set."""
    return f"published Dice %, {DATA_TITLES[table.published_data]} (other splits)"


def explanation(table: PaperTable) -> list[str]:
    """How to read the table, in sentences."""
    whose = "of the same data set" if table.is_same_data else "of ANOTHER data set"
    return [
        f"Table {table.paper.number} of Ji et al. (MICCAI 2020): {table.paper.title}.",
        f"The column of the paper holds published figures, {whose} ({DATA_TITLES[table.published_data]}), with "
        "other splits, other trainings and other hardware. At most the order of the rows can be compared.",
        f"Dice % is of {table.data_name}: mean ± SD over the cases of the folds that were scored. Neither the "
        "search nor the training of a row saw the cases that score it.",
        "The interval of 95 % is from a bootstrap over cases and runs; with one run over cases alone, marked "
        "(cases). Between runs: SD between seeds, if there are several.",
        "Multiply-adds are of one patch; all rows have the budget of the U-Net, as near as whole channels come. "
        "Search minutes are means over the runs. Rows that differ in tau alone share one search.",
    ]


def cells(table: PaperTable) -> pd.DataFrame:
    """The table as text, a column for each heading."""
    return pd.DataFrame([_cells(row, table) for row in table.rows])


def terminal_table(table: PaperTable) -> Table:
    """The most important columns for a terminal; headings may take several lines."""
    frame = cells(table)
    frame = frame[[name for name in frame.columns if name in (*_IN_TERMINAL, heading_published(table))]]
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(frame.columns):
        shown.add_column(
            heading.replace(", ", ",\n").replace(" (", "\n("), justify="right" if place else "left"
        )
    for row in frame.to_numpy().tolist():
        shown.add_row(*(Text(value) for value in row))
    return shown


def markdown(table: PaperTable) -> str:
    """The table, how to read it, and the notes."""
    frame = cells(table)
    lines = [list(frame.columns), ["---", *("---:" for _ in frame.columns[1:])], *frame.to_numpy().tolist()]
    text = ["| " + " | ".join(value.replace("|", "\\|") for value in line) + " |" for line in lines]
    text += ["", *explanation(table)]
    if table.notes:
        text += ["", "Notes:", "", *(f"- {note}" for note in table.notes)]
    return "\n".join(text) + "\n"


def csv_text(table: PaperTable) -> str:
    """Numbers in full, own Dice as fractions; an empty field is a number that does not exist."""
    frame = pd.DataFrame([_numbers(row, table) for row in table.rows])
    return frame.to_csv(index=False, lineterminator="\n")


def latex(table: PaperTable) -> str:
    """A table environment; needs the packages booktabs and amssymb."""
    frame = cells(table)
    text = frame.to_latex(
        index=False,
        escape=True,
        column_format="l" + "r" * (len(frame.columns) - 1),
        caption=f"{explanation(table)[0]} Published figures: {DATA_TITLES[table.published_data]}, other data splits.",
        label=f"tab:paper{table.paper.number}",
    )
    for plain, command in _LATEX.items():
        text = text.replace(plain, command)
    return re.sub(r"\btau\b", r"$\\tau$", text)


def write_tables(tables: list[PaperTable], output: Path) -> list[Path]:
    """Writes ``table1.md``, ``.csv``, ``.tex`` and ``.png``, and the same of table 2, to a folder.

    All files are complete before any takes its place.

    Raises:
        UserError: if the folder or a file cannot be written.
    """
    contents: dict[Path, bytes] = {}
    for table in tables:
        stem = f"table{table.paper.number}"
        contents |= {
            output / f"{stem}.md": markdown(table).encode(),
            output / f"{stem}.csv": csv_text(table).encode(),
            output / f"{stem}.tex": latex(table).encode(),
            output / f"{stem}.png": table_picture(table),
        }
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_files(contents)
    except OSError as error:
        raise UserError(
            f"{output}: the tables cannot be written ({error.strerror}); free space or give another folder"
        ) from None
    return list(contents)


def refuse_output(output: Path, force: bool) -> None:
    """Raises a UserError if tables cannot or should not go to the folder ``output``."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file, expected a folder for table1.md and so on")
    existing = [path for path in sorted(output.glob("table[12].*")) if path.suffix[1:] in ENDINGS]
    if existing and not force:
        raise UserError(f"{existing[0]}: exists already; give another folder, or --force to overwrite it")


def _cells(row: PaperRow, table: PaperTable) -> dict[str, str]:
    published, own = row.published, row.own
    percent = published.dice_percent.get(table.published_data)
    values = {
        "network": published.name,
        "SBB": YES if published.blocks else NO,
        "MSSA": YES if published.aggregation else NO,
        "tau": NONE if published.tau is None else f"{published.tau:.2f}",
        heading_published(table): NONE if percent is None else f"{percent:.2f}",
    }
    columns = ("Dice %", "95 %", "between runs", "runs", "parameters", "multiply-adds", "search minutes")
    if own is None or own.dice.mean is None:
        return values | dict.fromkeys(columns, NONE)
    mean = f"{100 * own.dice.mean:.2f}"
    interval = NONE
    if own.interval is not None:
        interval = f"{100 * own.interval.low:.2f} to {100 * own.interval.high:.2f}"
        interval += "" if own.interval.over_runs else " (cases)"
    own_values = (
        mean if own.dice.sd is None else f"{mean} ± {100 * own.dice.sd:.2f}",
        interval,
        NONE if own.sd_between_runs is None else f"{100 * own.sd_between_runs:.2f}",
        str(len(own.trainings)),
        short_number(own.parameters),
        short_number(own.multiply_adds),
        NONE if own.search_minutes is None else f"{own.search_minutes:.1f}",
    )
    return values | dict(zip(columns, own_values, strict=True))


def _numbers(row: PaperRow, table: PaperTable) -> dict[str, Any]:
    published, own = row.published, row.own
    interval = own.interval if own else None
    return {
        "contender": cell(published.contender),
        "network": cell(published.name),
        "sbb": int(published.blocks),
        "mssa": int(published.aggregation),
        "tau": published.tau,
        "published_data": table.published_data,
        "published_dice_percent": published.dice_percent.get(table.published_data),
        "data": cell(table.data_name),
        "num_runs": len(own.trainings) if own else 0,
        "num_cases": len(own.case_dice) if own else 0,
        "dice_mean": own.dice.mean if own else None,
        "dice_sd": own.dice.sd if own else None,
        "dice_low": interval.low if interval else None,
        "dice_high": interval.high if interval else None,
        "dice_sd_between_runs": own.sd_between_runs if own else None,
        "parameters": own.parameters if own else None,
        "multiply_adds": own.multiply_adds if own else None,
        "minutes": own.minutes if own else None,
        "search_minutes": own.search_minutes if own else None,
    }
