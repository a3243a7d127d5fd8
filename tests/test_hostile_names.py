"""Names from data sets that a terminal would obey or a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
import logging
from pathlib import Path

import pandas as pd
import pytest

from search_space.errors import UserError, printable
from uxnet_eval.cli import _Printable
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.evaluation.scores import COLUMNS, csv_of_cases, read_cases
from uxnet_eval.prediction.scans import find_scans
from uxnet_eval.runs.csv_cells import cell, text_of

ESCAPE = "a\x1b]0;title\x07b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("heart_003: 0.5 mm\n\tü 心", "heart_003: 0.5 mm\n\tü 心"),
        (ESCAPE, r"a\x1b]0;title\x07b"),
        ("\x9b2J", r"\x9b2J"),  # one byte that begins a command
        ("line\rover", r"line\rover"),
        ("\udcff", r"\udcff"),  # a file name that is no UTF-8
        ("gpj.\u202eexe", r"gpj.\u202eexe"),  # reverses what follows
    ],
)
def test_a_terminal_gets_nothing_to_obey(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert str(UserError(text)) == shown
    record = logging.LogRecord("uxnet_eval", logging.INFO, "", 0, "%s", (text,), None)
    assert _Printable("%(message)s").format(record) == shown


def _dataset(folder: Path, **changes: object) -> Path:
    description = {
        "name": "toy",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "organ"},
        "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}],
        **changes,
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modality": {"0": ESCAPE}}, "the channel 'a.*b' has a name"),
        ({"labels": {"0": "background", "1": "a\nb"}}, "the class 'a.nb' has a name"),
        ({"labels": {"0": "background", "1": ""}}, "the class '' has a name that is empty"),
        ({"name": ESCAPE}, "the data set 'a.*b' has a name"),
        ({"training": [{"image": f"{ESCAPE}.nii", "label": "x.nii"}]}, "the case 'a.*b' has a name"),
        ({"training": [{"image": "\ud800.nii", "label": "x.nii"}]}, "bytes that are no UTF-8"),
        (
            {"training": [{"image": f"{'x' * 300}.nii", "label": "x.nii"}]},
            "a name of 300 bytes, expected at most 200",
        ),
    ],
)
def test_such_names_are_refused_where_they_come_in(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_dataset(_dataset(tmp_path, **changes))
    assert printable(str(caught.value)) == str(caught.value)


def test_a_file_to_predict_with_such_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"{ESCAPE}.nii.gz").touch()
    with pytest.raises(UserError, match="rename it"):
        find_scans(tmp_path, ["MRI"], 3)


@pytest.mark.parametrize(
    "name", ["=cmd|calc!A2", "+1", "-1", "@SUM(A1)", "'quoted", "''", "plain", "NA", "001"]
)
def test_a_spreadsheet_gets_no_formula_and_the_name_comes_back(name: str, tmp_path: Path) -> None:
    assert text_of(cell(name)) == name
    table = pd.DataFrame([[name, name, 0.5, 1.0, -0.5, 2.0, 3.0]], columns=list(COLUMNS))
    text = csv_of_cases(table)
    (row,) = list(csv.reader(io.StringIO(text)))[1:]
    assert row[0][0] not in "=+-@\t\r"
    assert row[4] == "-0.5"  # numbers stay numbers
    (tmp_path / "cases.csv").write_text(text)
    read = read_cases(tmp_path / "cases.csv")
    assert list(read["case_id"]) == list(read["class"]) == [name]
