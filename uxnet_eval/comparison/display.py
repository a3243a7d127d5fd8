"""A comparison as text: the cells of its table, and how to read them."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from .intervals import Interval
from .row import Row, Statistic
from .significance import MIN_CASES, MIN_RUNS, PairedTest
from .table import Comparison

HEADING_BEFORE = ("network", "Dice", "Dice, 95 %")
HEADING_AFTER = (
    "between runs",
    "parameters",
    "multiply-adds",
    "minutes",
    "search minutes",
    "memory",
    "runs",
    "difference",
    "difference, 95 %",
    "p over cases (Wilcoxon)",
    "p over runs (sign flips)",
)
BRIEF = (
    "network",
    "Dice",
    "parameters",
    "multiply-adds",
    "runs",
    "difference",
    "difference, 95 %",
    "p over cases (Wilcoxon)",
    "p over runs (sign flips)",
)
"""Columns of the table in the terminal; the files hold all."""
WIDEST_WORD = len("< 0.0001")


def explanation(comparison: Comparison) -> list[str]:
    """How the numbers come about and what they speak of, in sentences for beneath the table."""
    first = comparison.rows[0].name
    sentences = [
        "Dice is the mean ± SD over the cases of the held-out folds. A case's scores are averaged over the seeds first "
        "(of random genotypes, then over the genotypes), so a case counts once.",
        "Intervals of 95 % are from a bootstrap over cases and runs (seeds, with the search of each where there are "
        "several); with one run, over cases alone, marked (cases).",
        "Between runs: SD of the mean Dice between seeds, of random genotypes between seeds and genotypes.",
        f"Difference and p are against {first}. The difference is the mean of the cases' Dice.",
        "p over cases: Wilcoxon's signed-rank test, paired by case. It speaks of other cases of the same kind, for these "
        f"very trainings; there is none where fewer than {MIN_CASES} cases differ.",
        "p over runs: sign flips of the differences of fold and seed. It speaks of other trainings on these cases; there "
        f"is none with fewer than {MIN_RUNS} runs, and n runs give no p below 2 / 2^n.",
        _on_correction(comparison),
        "Multiply-adds are of one patch. Parameters, multiply-adds and minutes are means over the runs, memory is their "
        "largest. Search minutes are the price of search and selection, where the trainings say it.",
    ]
    if comparison.equal is not None:
        sentences.append(f"The table claims equal {comparison.equal}; the notes name the rows that are not.")
    else:
        sentences.append("The trainings have no common budget, so the table claims no equal cost.")
    return sentences


def _on_correction(comparison: Comparison) -> str:
    first, primary = comparison.rows[0].name, comparison.primary
    num_others = len(comparison.rows) - 1 - (primary is not None)
    if primary is None:
        return f"No contrast is primary: each p is corrected by Holm for the {num_others} contrasts."
    how = (
        "named beforehand" if comparison.is_primary_named else "the second row, as none was named beforehand"
    )
    others = f"; the p of the other {num_others} are corrected by Holm" if num_others else ""
    return f"Primary contrast: {primary} against {first} ({how}). Its p are not corrected{others}."


def table_cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The heading and the rows of the table, as text."""
    heading = [*HEADING_BEFORE, *comparison.class_names, *HEADING_AFTER]
    return heading, [_cells(row, comparison.class_names) for row in comparison.rows]


def terminal_table(comparison: Comparison) -> Table:
    """The columns ``BRIEF`` of the table; headings may take several lines."""
    heading, rows = table_cells(comparison)
    # From the end: a class may have the name of a column.
    shown = [heading.index(title) if title in HEADING_BEFORE else _last(heading, title) for title in BRIEF]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place in shown:
        title = heading[place]
        may_wrap = place == 0 or title.startswith("p ") or title.endswith("95 %")
        table.add_column(
            title.replace(", ", ",\n")
            .replace("multiply-", "multiply-\n")
            .replace(" (", "\n")
            .replace(")", ""),
            justify="right" if place else "left",
            no_wrap=not may_wrap,
            min_width=WIDEST_WORD if title.startswith("p ") else None,
        )
    for row in rows:
        table.add_row(*(Text(row[place]) for place in shown))
    return table


def _last(heading: list[str], title: str) -> int:
    return len(heading) - 1 - heading[::-1].index(title)


def _cells(row: Row, class_names: tuple[str, ...]) -> list[str]:
    against = row.contrast
    difference = against.difference if against else None
    return [
        row.name,
        _mean_sd(row.dice),
        _interval(row.interval),
        *(_mean_sd(row.classes[name]["dice"]) for name in class_names),
        "-" if row.sd_between_runs is None else f"{row.sd_between_runs:.4f}",
        short_number(row.parameters),
        short_number(row.multiply_adds),
        f"{row.minutes:.1f}",
        "" if row.search_minutes is None else f"{row.search_minutes:.1f}",
        f"{row.peak_memory_gib:.1f} GiB",
        str(len(row.trainings)),
        "-" if difference is None else f"{difference:+.4f}",
        _interval(against.interval, signed=True) if against else "-",
        _p(against.over_cases, against.p_over_cases) if against else "-",
        _p(against.over_runs, against.p_over_runs) if against else "-",
    ]


def short_number(number: float) -> str:
    """Three digits with the unit G, M or k."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _mean_sd(statistic: Statistic) -> str:
    if statistic.mean is None:
        return "-"
    return f"{statistic.mean:.4f}" + ("" if statistic.sd is None else f" ± {statistic.sd:.4f}")


def _interval(interval: Interval | None, *, signed: bool = False) -> str:
    if interval is None:
        return "-"
    sign = "+" if signed else ""
    ends = f"{interval.low:{sign}.4f} to {interval.high:{sign}.4f}"
    return ends if interval.over_runs else f"{ends} (cases)"


def _p(test: PairedTest, reported: float | None) -> str:
    if reported is None:
        return test.remark
    return "< 0.0001" if reported < 1e-4 else f"{reported:.4f}"
