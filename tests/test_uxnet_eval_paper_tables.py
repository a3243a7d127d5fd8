"""The paper's tables: its rows in its order, its figures to the digit, own results beside, and data sets kept apart."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from search_space import UserError
from tests.finished_trainings import made_up_training
from uxnet_eval.cli import app
from uxnet_eval.comparison.trainings import find_trainings
from uxnet_eval.config.contest import CONTENDERS
from uxnet_eval.paper_tables.published import ABLATION, COMPARISON, OTHER_NAMES
from uxnet_eval.paper_tables.table import PaperTable, paper_tables
from uxnet_eval.paper_tables.writing import cells, csv_text, latex, markdown, refuse_output, write_tables

TABLE_1 = {
    "unet": 72.50,
    "paper-sbb": 73.43,
    "paper-mssa": 73.65,
    "paper-tau-0.60": 73.90,
    "paper": 74.57,
    "paper-tau-0.90": 74.35,
}
"""The paper's table 1, in its order."""
TABLE_2 = {
    "unet": (72.5, 90.70, 73.13, 86.2),
    "dynunet": (74.00, 92.70, 74.54, None),
    "monai-unet++": (72.66, 91.56, 72.95, 86.7),
    "u-resnet": (71.61, 89.60, 63.77, 88.0),
    "scnas": (72.04, 90.47, 67.92, None),
    "ronasmis": (74.14, 92.72, 75.71, None),
    "paper": (74.57, 93.50, 76.36, 89.6),
}
"""The paper's table 2, in its order: brain tumour, heart, prostate, ISIC."""
PUBLISHED = "published Dice %, brain tumour (other splits)"
DICE = {"a": (0.5, 0.7), "b": (0.7, 0.9)}
"""Means of the classes 0.6 and 0.8, so 0.7; means of the cases 0.6 and 0.8, so an SD of 0.1414."""


def trained(folder: Path, *contenders: str, dataset: str = "Toy", search_minutes: float | None = 3.0) -> Path:
    """A folder of one training for each contender, all of one data set."""
    for name in contenders:
        made_up_training(
            folder / name, "x.json", DICE, label=name, dataset=dataset, search_minutes=search_minutes
        )
    return folder


def tables_of(*folders: Path) -> list[PaperTable]:
    return paper_tables(find_trainings([str(folder) for folder in folders]))


def test_the_published_figures_are_the_papers_in_its_order() -> None:
    assert {row.contender: row.dice_percent for row in ABLATION.rows} == {
        name: {"brain": value} for name, value in TABLE_1.items()
    }
    assert [row.contender for row in ABLATION.rows] == list(TABLE_1)
    assert [row.contender for row in COMPARISON.rows] == list(TABLE_2)
    for row in COMPARISON.rows:
        found = tuple(row.dice_percent.get(data) for data in ("brain", "heart", "prostate", "isic"))
        assert found == TABLE_2[row.contender]
    assert [(row.blocks, row.aggregation, row.tau) for row in ABLATION.rows] == [
        (False, False, None),
        (True, False, None),
        (False, True, 0.75),
        (True, True, 0.60),
        (True, True, 0.75),
        (True, True, 0.90),
    ]


def test_every_contender_has_a_name() -> None:
    named = {row.contender for table in (ABLATION, COMPARISON) for row in table.rows} | OTHER_NAMES.keys()
    assert set(CONTENDERS) <= named


def test_own_results_stand_beside_the_published_ones(tmp_path: Path) -> None:
    (table,) = tables_of(trained(tmp_path / "runs", "paper-tau-0.90", "paper-sbb", "unet"))
    assert table.paper is ABLATION
    frame = cells(table)
    assert list(frame["network"]) == [row.name for row in ABLATION.rows]
    assert list(frame[PUBLISHED]) == [f"{value:.2f}" for value in TABLE_1.values()]
    sbb = frame.iloc[1]
    assert (sbb["SBB"], sbb["MSSA"], sbb["tau"]) == ("✓", "×", "-")
    assert sbb["Dice %"] == "70.00 ± 14.14"
    assert (sbb["parameters"], sbb["multiply-adds"], sbb["search minutes"]) == ("1 k", "5 M", "3.0")
    assert frame.iloc[4]["Dice %"] == "-"
    assert table.notes[0] == "not trained yet: MSSA alone; UXNet, tau 0.60; UXNet, tau 0.75"


def test_which_tables_are_written(tmp_path: Path) -> None:
    """Rows that stand in both tables make none by themselves if another row says which table is meant."""

    def numbers(*contenders: str) -> list[int]:
        folder = tmp_path / "-".join(contenders)
        return [table.paper.number for table in tables_of(trained(folder, *contenders))]

    assert numbers("unet", "paper", "paper-sbb") == [1]
    assert numbers("unet", "paper", "dynunet") == [2]
    assert numbers("paper-sbb", "dynunet") == [1, 2]
    assert numbers("unet") == [1, 2]
    assert numbers("unet", "random") == [2]


def test_rows_that_the_paper_does_not_have_come_last(tmp_path: Path) -> None:
    (table,) = tables_of(trained(tmp_path / "runs", "unet++", "searched", "unet"))
    frame = cells(table)
    assert list(frame["network"])[len(TABLE_2) :] == ["U-Net++ (sum, grid)", "search by measurement"]
    assert list(frame["SBB"])[len(TABLE_2) :] == ["×", "✓"]
    assert set(frame[PUBLISHED][len(TABLE_2) :]) == {"-"}


def test_a_training_without_label_is_the_row_of_its_architecture(tmp_path: Path) -> None:
    made_up_training(tmp_path / "runs" / "0", "preset:unet", DICE)
    made_up_training(tmp_path / "runs" / "1", "dynunet", DICE)
    (table,) = tables_of(tmp_path / "runs")
    assert [row.published.contender for row in table.rows if row.own] == ["unet", "dynunet"]


@pytest.mark.parametrize(
    ("dataset", "key", "column"),
    [
        ("/data/Task02_Heart", "heart", 1),
        ("Task05_Prostate", "prostate", 2),
        ("ISIC2018", "isic", 3),
        ("Task04_Hippocampus", "brain", 0),  # the paper has no figures of it
    ],
)
def test_the_published_column_is_that_of_the_data(
    dataset: str, key: str, column: int, tmp_path: Path
) -> None:
    (table,) = tables_of(trained(tmp_path / "runs", "dynunet", dataset=dataset))
    assert table.published_data == key
    shown = list(cells(table).iloc[:, 4])
    expected = [values[column] for values in TABLE_2.values()]
    assert shown == ["-" if value is None else f"{value:.2f}" for value in expected]
    whose = "of ANOTHER data set" if dataset == "Task04_Hippocampus" else "of the same data set"
    assert whose in markdown(table) and "other splits" in markdown(table)


def test_table_1_shows_the_brains_figures_beside_any_data(tmp_path: Path) -> None:
    (table,) = tables_of(trained(tmp_path / "runs", "paper-sbb", dataset="Task02_Heart"))
    assert table.published_data == "brain" and not table.is_same_data
    assert list(cells(table)[PUBLISHED]) == [f"{value:.2f}" for value in TABLE_1.values()]


def test_data_sets_are_not_mixed(tmp_path: Path) -> None:
    first = trained(tmp_path / "a", "unet", dataset="/data/Task02_Heart")
    other = trained(tmp_path / "b", "dynunet", dataset="/data/Task05_Prostate")
    with pytest.raises(
        UserError, match=r"several data sets: Task02_Heart \(2 cases\) in .*; Task05_Prostate"
    ) as caught:
        tables_of(first, other)
    assert "\n" not in str(caught.value)
    more = tmp_path / "c" / "dynunet"
    made_up_training(more, "dynunet", {**DICE, "c": (0.1, 0.2)}, dataset="/data/Task02_Heart")
    with pytest.raises(UserError, match=r"Task02_Heart \(2 cases\) in .*; Task02_Heart \(3 cases\)"):
        tables_of(first, tmp_path / "c")


def test_the_files(tmp_path: Path) -> None:
    (table,) = tables_of(trained(tmp_path / "runs", "unet", "paper-mssa"))
    written = write_tables([table], tmp_path / "tables" / "out")
    assert [path.name for path in written] == ["table1.md", "table1.csv", "table1.tex", "table1.png"]
    rows = list(csv.DictReader((tmp_path / "tables" / "out" / "table1.csv").read_text().splitlines()))
    assert rows == list(csv.DictReader(csv_text(table).splitlines()))
    assert [row["contender"] for row in rows] == list(TABLE_1)
    assert [float(row["published_dice_percent"]) for row in rows] == list(TABLE_1.values())
    mssa = rows[2]
    assert float(mssa["dice_mean"]) == pytest.approx(0.7) and float(mssa["dice_sd"]) == pytest.approx(
        0.02**0.5
    )
    assert (mssa["sbb"], mssa["mssa"], mssa["tau"], mssa["num_runs"]) == ("0", "1", "0.75", "1")
    assert rows[1]["dice_mean"] == "" and rows[1]["num_runs"] == "0"
    with Image.open(tmp_path / "tables" / "out" / "table1.png") as picture:
        assert picture.width > 1000 and picture.height > 400
    with pytest.raises(UserError, match=r"table1\.csv: exists already; give another folder, or --force"):
        refuse_output(tmp_path / "tables" / "out", force=False)
    refuse_output(tmp_path / "tables" / "out", force=True)


def test_latex_has_a_line_for_each_row_and_no_bare_symbol(tmp_path: Path) -> None:
    (table,) = tables_of(trained(tmp_path / "runs", "unet", "random", dataset="my_data 100%"))
    text = latex(table)
    body = re.search(r"\\midrule\n(.*)\\bottomrule", text, flags=re.S)
    assert body is not None
    lines = body[1].strip().splitlines()
    assert len(lines) == len(TABLE_2) + 1 and all(line.endswith(r"\\") for line in lines)
    assert all(line.count(" & ") == len(cells(table).columns) - 1 for line in lines)
    assert lines[0].startswith(r"U-Net (sum, grid) & $\times$ & $\times$ & - & 72.50 & 70.00 $\pm$ 14.14 &")
    assert text.isascii() and not re.search(r"(?<!\\)%", text)


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    runs = trained(tmp_path / "runs", "unet", "paper-sbb")
    made_up_training(runs / "late", "x.json", DICE, label="paper", finished=False)
    done = CliRunner().invoke(app, ["table", str(runs), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "SBB alone" in done.output and "73.43" in done.output and "not finished" in done.output
    assert (tmp_path / "out" / "table1.md").exists() and not (tmp_path / "out" / "table2.md").exists()
    again = CliRunner().invoke(app, ["table", str(runs), "-o", str(tmp_path / "out")])
    assert isinstance(again.exception, UserError) and "exists already" in str(again.exception)
