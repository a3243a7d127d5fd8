"""Trainings as a table: a row for each network or label, over its folds and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from search_space.errors import UserError, nearest

from .contrasts import contrast, corrected
from .fairness import Equality, claimed_equality, fairness_notes
from .labels import is_random, label_trainings
from .row import Row, row_of
from .trainings import Training, Trainings


@dataclass
class Comparison:
    """The rows, and what a reader must know besides.

    Attributes:
        rows: the first is the one that the others are compared with.
        class_names: of the foreground.
        notes: lines on what is left out or unequal.
        folders: folders of trainings that notes may name.
        equal: the cost that the table claims to be equal; None: neither.
        primary: the row whose contrast with the first is the primary one; None: there is none.
        is_primary_named: whether the user or the trainings named it; else it is the second row.
    """

    rows: list[Row]
    class_names: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    equal: Equality | None = None
    primary: str | None = None
    is_primary_named: bool = False


def compare(
    found: Trainings,
    *,
    first: str | None = None,
    each_random: bool = False,
    primary: str | None = None,
    equal: str | None = None,
) -> Comparison:
    """The table of all finished trainings.

    Args:
        found: the trainings, and the notes to keep.
        first: label or architecture of the row that the others are tested against; None:
            ``searched`` if it is there, else the first found.
        each_random: list every random genotype too, after the row of all of them.
        primary: label or architecture of the row of the primary contrast; None: the one that the
            trainings name (``network.primary``), else the second row.
        equal: the cost that the table claims to be equal; None: the trainings' budget.

    Raises:
        UserError: if the trainings have different classes or name different primary rows, or there
            is no row ``first`` or ``primary``.
    """
    notes = list(found.notes)
    trainings = _without_twins(found.finished, notes)
    class_names = _class_names(trainings)
    labels = label_trainings(trainings)
    groups: dict[str, list[tuple[str, Training]]] = {}
    for label, training in zip(labels, trainings, strict=True):
        if not is_random(training):
            groups.setdefault(label, []).append((label, training))
    drawn = [(label, t) for label, t in zip(labels, trainings, strict=True) if is_random(t)]
    if drawn:
        num = len({label for label, _ in drawn})
        groups[f"random genotypes, n={num}" if num > 1 else drawn[0][0]] = drawn
        if each_random and num > 1:
            for label, training in sorted(drawn, key=lambda pair: pair[0]):
                groups.setdefault(label, []).append((label, training))
    order = list(groups)
    chosen = _find_first(first, groups)
    order.insert(0, order.pop(order.index(chosen)))
    tested, is_named = _find_primary(primary, groups, order, notes)
    rows = [row_of(name, groups[name], class_names) for name in order]
    contrasts = [contrast(rows[0].case_dice, rows[0].scores, row.case_dice, row.scores) for row in rows[1:]]
    place = order.index(tested) - 1 if tested else None
    rows[1:] = [
        replace(row, contrast=each) for row, each in zip(rows[1:], corrected(contrasts, place), strict=True)
    ]
    claim = claimed_equality(equal, rows[0])
    notes += fairness_notes(rows, claim)
    return Comparison(rows, class_names, notes, found.folders, claim, tested, is_named)


def _without_twins(trainings: Sequence[Training], notes: list[str]) -> list[Training]:
    """The trainings without repeats of network, label, budget, fold and seed; repeats are noted."""
    kept: dict[tuple[object, ...], Training] = {}
    for training in trainings:
        fold, seed = training.result["fold"], training.result["seed"]
        network = training.genotype or training.architecture  # the path of a genotype says nothing
        key = (training.label, network, training.budget, fold, seed)
        if key in kept:
            notes.append(
                f"{training.folder}: {training.label or training.architecture}, fold {fold}, seed {seed} is there already in "
                f"{kept[key].folder}; left out"
            )
        else:
            kept[key] = training
    return list(kept.values())


def _class_names(trainings: Sequence[Training]) -> tuple[str, ...]:
    found = {tuple(dict.fromkeys(training.cases["class"])): training for training in trainings}
    if len({frozenset(names) for names in found}) > 1:
        described = "; ".join(f"{t.folder}: {', '.join(names)}" for names, t in found.items())
        raise UserError(f"the trainings have different classes ({described}); compare those of one data set")
    return next(iter(found))


Groups = dict[str, list[tuple[str, Training]]]
"""The trainings of each row, each with the name of the network that its seeds are averaged for."""


def _find_first(first: str | None, groups: Groups) -> str:
    if first is None:
        return "searched" if "searched" in groups else next(iter(groups))
    return _find_row(first, groups, "--first")


def _find_row(given: str, groups: Groups, option: str) -> str:
    """The row of this name, or whose networks have this architecture."""
    if given in groups:
        return given
    by_architecture = {
        training.architecture: name for name, members in groups.items() for _, training in members
    }
    if given not in by_architecture:
        known = [*groups, *by_architecture]
        raise UserError(
            f"{option} {given}: no such row{nearest(given, known)}; there are {', '.join(groups)}"
        )
    return by_architecture[given]


def _find_primary(
    given: str | None, groups: Groups, order: Sequence[str], notes: list[str]
) -> tuple[str | None, bool]:
    """The row of the primary contrast, and whether it was named rather than taken by its place."""
    if given is not None:
        found = _find_row(given, groups, "--primary")
        if found == order[0]:
            raise UserError(
                f"--primary {given}: is the first row itself; name another row, or another --first"
            )
        return found, True
    settings = [training.settings for members in groups.values() for _, training in members]
    names = {str(each["network.primary"]) for each in settings if each.get("network.primary") is not None}
    if not names:
        return (order[1] if len(order) > 1 else None), False
    if len(names) > 1:
        raise UserError(
            f"the trainings name several primary rows (network.primary: {', '.join(sorted(names))}); "
            "choose one with --primary"
        )
    (name,) = names
    if name not in order[1:]:
        what = "it is the first row" if name == order[0] else "there is no such row"
        notes.append(
            f"the trainings name '{name}' for the primary contrast, but {what}; no contrast is primary"
        )
        return None, True
    return name, True
