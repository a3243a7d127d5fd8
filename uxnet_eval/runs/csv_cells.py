"""Text in CSV files that no spreadsheet takes for a formula.

A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@``, and a name in a data set
may begin so.
"""

from __future__ import annotations

_RISKY = ("=", "+", "-", "@", "\t", "\r", "'")


def cell(text: str) -> str:
    """The text for a CSV file.

    Text that a spreadsheet could take for a formula gets a ``'`` before it, which spreadsheets
    hide.
    """
    return f"'{text}" if text.startswith(_RISKY) else text


def text_of(cell: str) -> str:
    """The text from a CSV file; the reverse of :func:`cell`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_RISKY) else cell
