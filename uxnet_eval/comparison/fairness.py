"""What makes the rows of a comparison unequal: settings, cost, cases, numbers of trainings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from search_space.errors import UserError, nearest

from .row import Row

Equality = Literal["multiply-adds", "parameters"]
"""What a table can claim to be equal for all rows."""
VARIED = (
    "network.architecture",
    "network.genotype",
    "network.label",
    "network.primary",
    "network.base_channels",
    "train.fold",
    "train.seed",
    "runtime.",
    "output",
    "dataset",
)
"""Settings that may differ between the trainings of a fair comparison (the cases themselves are
compared)."""
LIKE_SHARES: dict[Equality, float] = {"parameters": 0.1, "multiply-adds": 0.05}
"""Costs that differ by more than this share from the first row's are noted."""


def claimed_equality(given: str | None, first: Row) -> Equality | None:
    """What the table claims to be equal.

    Args:
        given: by the user; None: the budget that the first row's trainings were set.
        first: the first row.

    Raises:
        UserError: if ``given`` is neither of the two.
    """
    known = get_args(Equality)
    if given is not None:
        if given not in known:
            raise UserError(f"--equal {given}: expected {' or '.join(known)}{nearest(given, known)}")
        return given  # type: ignore[return-value]
    settings = first.trainings[0].settings
    for name in LIKE_SHARES:
        if settings.get(f"network.{name.replace('-', '_')}") is not None:
            return name
    return None


def fairness_notes(rows: Sequence[Row], claim: Equality | None) -> list[str]:
    """A line for each thing that makes a row unequal to the first."""
    return [note for row in rows for note in _notes(row, rows[0], claim)]


def _notes(row: Row, first: Row, claim: Equality | None) -> Iterable[str]:
    reference = first.trainings[0].settings
    names = sorted(
        {
            name
            for training in row.trainings
            for name in training.settings.keys() | reference.keys()
            if training.settings.get(name) != reference.get(name) and not name.startswith(VARIED)
        }
    )
    if names:
        yield f"{row.name}: was not trained under the first row's settings; other {', '.join(names)}"
    for what, share in LIKE_SHARES.items():
        attribute = what.replace("-", "_")
        ratio = getattr(row, attribute) / getattr(first, attribute)
        if abs(ratio - 1) > share:
            broken = f", though the table claims equal {what}" if what == claim else ""
            yield f"{row.name}: has {ratio:.2f} times the first row's {what}{broken}"
    if set(row.case_dice.index) != set(first.case_dice.index):
        common = len(set(row.case_dice.index) & set(first.case_dice.index))
        yield (
            f"{row.name}: was scored on {len(row.case_dice)} cases, the first row on {len(first.case_dice)}, "
            f"{common} of them the same; their means cannot be compared, the test takes the common cases"
        )
    if row.runs_per_case != first.runs_per_case:
        yield (
            f"{row.name}: a case's scores are means over {row.runs_per_case:.3g} trainings of a network, "
            f"the first row's over {first.runs_per_case:.3g}"
        )
