"""Own results in the rows of the paper's tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from search_space.errors import UserError
from search_space.reading import read_json

from ..architectures.architecture import PRESET_PREFIX
from ..comparison.table import Row, compare
from ..comparison.trainings import Training, Trainings
from ..runs.names import FOLDS_NAME
from .published import (
    COMPARISON,
    DATA_FOLDERS,
    OTHER_NAMES,
    SEARCHED_OTHERS,
    TABLES,
    DataKey,
    PublishedRow,
    PublishedTable,
)


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper, or one that it does not have, and the own result if there is one."""

    published: PublishedRow
    own: Row | None


@dataclass
class PaperTable:
    """One of the paper's tables with own results.

    Attributes:
        paper: the table.
        rows: in the paper's order, then those that it does not have.
        data_name: folder of the data set of the own results.
        published_data: the data set of the published figures: the same, or the brain where the
            table has no figures of this one.
        notes: lines on what is left out or unequal.
    """

    paper: PublishedTable
    rows: list[PaperRow]
    data_name: str
    published_data: DataKey
    notes: list[str] = field(default_factory=list)

    @property
    def is_same_data(self) -> bool:
        """Whether the published figures are of the data set of the own results."""
        return DATA_FOLDERS.get(self.data_name) == self.published_data


def paper_tables(found: Trainings) -> list[PaperTable]:
    """The paper's tables that have a row among the trainings.

    A table is left out if all of its rows that were trained stand in the other one as well.

    Args:
        found: finished trainings, of one data set.

    Raises:
        UserError: if the trainings are of several data sets, or none is a row of a table.
    """
    data_name = _only_data_set(found.finished)
    unet = next((each for each in found.finished if _contender(each) == "unet"), None)
    comparison = compare(found, first=None if unet is None else unet.label or unet.architecture)
    own = {_contender(row.trainings[0]): row for row in comparison.rows}
    of_tables = [{row.contender for row in table.rows} for table in TABLES]
    shared = set.intersection(*of_tables)
    # Table 2 also takes what the paper does not have.
    trained = [of_tables[0] & own.keys(), own.keys() - (of_tables[0] - shared)]
    if not any(trained):
        raise UserError(f"no training is a row of the paper's tables; there are {', '.join(own)}")
    if any(names - shared for names in trained):
        trained = [names if names - shared else set() for names in trained]
    data = DATA_FOLDERS.get(data_name, "brain")
    tables = []
    for table, names in zip(TABLES, trained, strict=True):
        if not names:
            continue
        rows = [PaperRow(row, own.get(row.contender)) for row in table.rows]
        if table is COMPARISON:
            others = sorted(own.keys() - of_tables[0] - of_tables[1], key=_place)
            rows += [PaperRow(_not_in_paper(name), own[name]) for name in others]
        missing = [row.published.name for row in rows if row.own is None]
        notes = [f"not trained yet: {'; '.join(missing)}"] if missing else []
        published_data = data if any(data in row.dice_percent for row in table.rows) else "brain"
        tables.append(PaperTable(table, rows, data_name, published_data, notes + comparison.notes))
    return tables


def _place(contender: str) -> tuple[int, str]:
    """The place of a row that the paper does not have: as in ``OTHER_NAMES``, then by name."""
    names = list(OTHER_NAMES)
    return (names.index(contender) if contender in names else len(names), contender)


def _not_in_paper(contender: str) -> PublishedRow:
    blocks, aggregation = SEARCHED_OTHERS.get(contender, (False, False))
    return PublishedRow(contender, OTHER_NAMES.get(contender, contender), blocks, aggregation)


def _contender(training: Training) -> str:
    """The contender that a training stands for: its label, or its architecture."""
    return training.label or training.architecture.removeprefix(PRESET_PREFIX)


def _only_data_set(trainings: Sequence[Training]) -> str:
    """The name of the folder of the one data set.

    Raises :class:`UserError` if there are several: other names, or other cases.
    """
    found: dict[tuple[str, tuple[str, ...]], Training] = {}
    for training in trainings:
        name = Path(str(training.settings.get("dataset", "?"))).name
        found.setdefault((name, _cases(training)), training)
    if len(found) > 1:
        described = "; ".join(
            f"{name} ({len(cases)} cases) in {training.folder}" for (name, cases), training in found.items()
        )
        raise UserError(f"the trainings are of several data sets: {described}; write a table for each")
    ((name, _),) = found
    return name


def _cases(training: Training) -> tuple[str, ...]:
    path = training.folder / FOLDS_NAME
    try:
        folds = read_json(path)["folds"]
        return tuple(sorted(case for fold in folds for case in fold))
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: absent or damaged; give the folder of a finished training") from None
