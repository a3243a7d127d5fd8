"""The summary of scores over cases and classes, and the table of cases as a file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search_space.errors import UserError
from uxnet_eval.evaluation import folders as evaluate
from uxnet_eval.evaluation.folders import (
    read_cases,
    summarise,
)
from uxnet_eval.evaluation.scores import COLUMNS


def table(rows: list[tuple[str, str, float, float, float]]) -> pd.DataFrame:
    """A table from case, class, Dice and the two volumes."""
    full = [(case, name, dice, dice, dice, volume, other) for case, name, dice, volume, other in rows]
    return pd.DataFrame(full, columns=list(COLUMNS))


def test_summary_leaves_out_what_does_not_occur_and_counts_it() -> None:
    cases = table(
        [
            ("a", "liver", 0.8, 5, 5),
            ("a", "tumour", math.nan, 0, 0),  # in neither: not counted
            ("b", "liver", 0.6, 5, 5),
            ("b", "tumour", 0.0, 5, 0),  # missed: counts as 0
            ("c", "liver", 0.7, 5, 5),
            ("c", "tumour", 0.5, 5, 5),
        ]
    )
    summary = summarise(cases)
    tumour = summary["classes"]["tumour"]
    assert list(summary["classes"]) == ["liver", "tumour"]
    assert summary["classes"]["liver"]["dice"]["mean"] == pytest.approx(0.7)
    assert tumour["dice"]["mean"] == 0.25
    assert tumour["dice"]["num_cases"] == 2
    assert (tumour["num_cases_in_neither"], tumour["num_cases_in_reference_alone"]) == (1, 1)
    assert tumour["reference_volume_mm3"]["num_cases"] == 3  # an absent class has a volume: 0
    # Each class weighs the same: (0.7 + 0.25) / 2. The mean of all five scores would be 0.52.
    assert summary["mean_dice"] == pytest.approx(0.475)


def test_class_in_no_case_is_null_with_a_warning() -> None:
    cases = table([("a", "liver", 0.8, 5, 5), ("a", "spleen", math.nan, 0, 0)])
    summary = summarise(cases)
    spleen = summary["classes"]["spleen"]["dice"]
    assert spleen == {"mean": None, "sd": None, "median": None, "interval_95": None, "num_cases": 0}
    assert summary["mean_dice"] == 0.8
    assert summary["mean_dice_interval_95"] is None  # one case has no spread
    assert summary["classes"]["liver"]["dice"]["sd"] is None
    assert summary["warnings"] == [
        "class spleen occurs in no case: it has no scores and is left out of mean_dice"
    ]
    json.dumps(summary, allow_nan=False)


def test_class_in_predictions_alone_warns() -> None:
    summary = summarise(table([("a", "liver", 0.0, 0, 5), ("b", "liver", math.nan, 0, 0)]))
    assert summary["mean_dice"] == 0.0
    assert "class liver occurs in no reference, but in predictions" in summary["warnings"][0]


def test_no_class_in_any_case() -> None:
    summary = summarise(table([("a", "liver", math.nan, 0, 0), ("b", "liver", math.nan, 0, 0)]))
    assert summary["mean_dice"] is None
    assert evaluate.mean_dice_line({**summary, "not_scored": {}}).startswith("mean Dice: none")


def test_bootstrap_is_seeded_and_about_two_standard_errors_wide() -> None:
    dice = np.random.default_rng(0).normal(0.8, 0.05, size=100)
    cases = table([(str(i), "liver", value, 5, 5) for i, value in enumerate(dice)])
    first, again, other = (summarise(cases, seed)["classes"]["liver"]["dice"] for seed in (0, 0, 1))
    assert first == again
    assert first["interval_95"] != other["interval_95"]
    low, high = first["interval_95"]
    # The interval of a mean is the mean plus and minus 1.96 standard errors for a near normal sample.
    half_width = 1.96 * first["sd"] / math.sqrt(100)
    assert [low, high] == pytest.approx([first["mean"] - half_width, first["mean"] + half_width], abs=2e-3)
    assert summarise(cases)["mean_dice_interval_95"] == [low, high]  # one class: the same


def test_order_of_the_cases_does_not_matter() -> None:
    dice = np.random.default_rng(0).uniform(size=30)
    cases = table([(str(i), name, value, 5, 5) for i, value in enumerate(dice) for name in ("b", "a")])
    shuffled = cases.sample(frac=1, random_state=0).sort_values("class", ascending=False)
    assert summarise(shuffled) == summarise(cases)


def test_case_ids_of_digits_keep_their_zeros(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text(
        "case_id,class,dice,hd95_mm,nsd,reference_volume_mm3,predicted_volume_mm3\n007,1,1,0,1,2,2\n"
    )
    assert read_cases(tmp_path / "cases.csv")["case_id"].tolist() == ["007"]


@pytest.mark.parametrize("text", ["", "case_id,class\na,b\n", "\0\x81"])
def test_read_cases_refuses_other_files(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=r"x\.csv: not a table of scores"):
        read_cases(tmp_path / "x.csv")
