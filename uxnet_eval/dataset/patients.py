"""Whose scan each case is, so that all cases of a patient stay in one fold.

Two scans of one heart look alike. If a network learns from one and is scored on the other, the
score is too good.
"""

from __future__ import annotations

import csv
import re
import reprlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_space.errors import UserError, nearest

from .cases import Dataset, Patients

GROUPS_KEY, GROUPS_NAME = "groups", "groups.csv"
HEADER = ["case", "patient"]
FROM_NAMES = "the names of the cases"

# patient001_frame01, sub-01_ses-02, case7_slice-13, A0S9V9_ED: a name with a digit, then a word for
# a repeated scan.
_REPEATED = re.compile(
    r"(?P<patient>.*\d.*?)[_-]"
    r"(?:(?:frame|phase|scan|session|ses|slice|timepoint|time|tp|visit)[_-]?\d+|ED|ES)",
    re.IGNORECASE,
)


def find_patients(dataset: Dataset, path: Path, description: Mapping[str, Any]) -> Patients:
    """The patients that are declared; else those that the names of the cases tell, if any.

    They are declared under ``groups`` in ``dataset.json``, an object of case ids and patients, or
    in ``groups.csv`` beside it, with the columns ``case`` and ``patient``.

    Args:
        dataset: its cases.
        path: of ``dataset.json``.
        description: its content.

    Raises:
        UserError: both are there; a file is ill-formed; a training case has no patient, or a case
            does not exist.
    """
    table = path.with_name(GROUPS_NAME)
    declared = description.get(GROUPS_KEY)
    if declared is not None and table.exists():
        raise UserError(
            f"{path}: declares {GROUPS_KEY}, and {GROUPS_NAME} lies beside it; keep one of the two"
        )
    if declared is not None:
        where, source = f"{path}: {GROUPS_KEY}", f"{GROUPS_KEY} in {path.name}"
        of_case = _from_object(where, declared)
    elif table.exists():
        where, source = str(table), GROUPS_NAME
        of_case = _from_table(table)
    else:
        return patients_by_name([case.case_id for case in dataset.cases])
    known = {case.case_id for case in (*dataset.cases, *dataset.test_cases)}
    for case_id in of_case:
        if case_id not in known:
            raise UserError(
                f"{where}: names the case {case_id}, which the data set does not have{nearest(case_id, sorted(known))}; mend "
                "or drop it"
            )
    without = [case.case_id for case in dataset.cases if case.case_id not in of_case]
    if without:
        raise UserError(
            f"{where}: {len(without)} of {len(dataset.cases)} training cases have no patient ({without[0]}); name "
            "one for each"
        )
    return Patients(of_case, source)


def patients_by_name(case_ids: list[str]) -> Patients:
    """The patients that the names tell: those that differ in frame, visit, slice, ... alone.

    No patients unless two cases share one.
    """
    matches = {case_id: _REPEATED.fullmatch(case_id) for case_id in case_ids}
    of_case = {case_id: match["patient"] if match else case_id for case_id, match in matches.items()}
    if max(Counter(of_case.values()).values(), default=0) < 2:
        return Patients()
    return Patients(of_case, FROM_NAMES)


def _from_object(where: str, declared: Any) -> dict[str, str]:
    if not isinstance(declared, dict) or not all(
        isinstance(patient, (str, int)) and str(patient).strip() for patient in declared.values()
    ):
        raise UserError(
            f"{where} is {reprlib.repr(declared)}, expected an object of case ids and patients; write for example "
            '{"patient001_frame01": "patient001"}'
        )
    return {case_id: str(patient) for case_id, patient in declared.items()}


def _from_table(path: Path) -> dict[str, str]:
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}), expected CSV in UTF-8; mend it") from None
    if not rows or [name.strip().lower() for name in rows[0]] != HEADER:
        raise UserError(
            f"{path}: begins with {reprlib.repr(','.join(rows[0]) if rows else '')}, expected {','.join(HEADER)}; "
            "write this line first, then a line for each case"
        )
    of_case: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != len(HEADER) or not all(cells):
            raise UserError(f"{path}: line {number} is {','.join(row)!r}, expected a case and its patient")
        if cells[0] in of_case:
            raise UserError(
                f"{path}: line {number} names the case {cells[0]} again; keep one line for a case"
            )
        of_case[cells[0]] = cells[1]
    return of_case
