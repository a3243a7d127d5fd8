"""Rows by label, the primary contrast, what the table claims to be equal, and the price of a search."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from finished_trainings import made_up_training
from rich.console import Console

from search_space import Genotype, presets
from search_space.errors import UserError
from uxnet_eval.comparison.display import explanation, table_cells, terminal_table
from uxnet_eval.comparison.table import Comparison, compare
from uxnet_eval.comparison.trainings import find_trainings
from uxnet_eval.comparison.writing import csv_text, to_dict

UNET = presets.get("unet", 3)
WIDE = Genotype.from_choices(3, UNET.edges, UNET.operations, widths=(2, 1, 1))


def table_of(folder: Path, **options) -> Comparison:
    return compare(find_trainings([str(folder)]), **options)


def case(fold: int, dice: float) -> dict[str, tuple[float, float]]:
    return {f"{fold}-{number}": (dice + number / 100, dice) for number in range(3)}


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """Two outer folds with three seeds: a search of its own genotype each, and the U-Net."""
    folder = tmp_path / "runs"
    for fold in (0, 1):
        for seed in (0, 1, 2):
            made_up_training(
                folder / f"s{fold}{seed}",
                f"g{fold}.json",
                case(fold, 0.8 + seed / 100),
                fold=fold,
                seed=seed,
                label="joint search",
                genotype=(UNET, WIDE)[fold],
                multiply_adds=(4_000_000, 6_000_000)[fold],
                search_minutes=(10.0, 20.0)[fold],
            )
            made_up_training(
                folder / f"u{fold}{seed}",
                "preset:unet",
                case(fold, 0.7 + seed / 100 + fold / 1000),
                fold=fold,
                seed=seed,
                multiply_adds=5_300_000,
            )
            made_up_training(
                folder / f"r{fold}{seed}",
                "random:0",
                case(fold, 0.7),
                fold=fold,
                seed=seed,
                label="best random",
            )
    return folder


def test_a_label_is_one_row_with_its_mean_cost(nested: Path) -> None:
    rows = table_of(nested, first="joint search").rows
    assert [(row.name, len(row.trainings)) for row in rows] == [
        ("joint search", 6),
        ("best random", 6),
        ("U-Net (sum, grid)", 6),
    ]
    assert rows[0].multiply_adds == 5_000_000
    assert rows[0].num_genotypes == 2 and rows[0].runs_per_case == 3
    assert rows[0].sd_between_runs == pytest.approx(0.01)  # of .805, .815 and .825
    assert rows[0].search_minutes == 15 and rows[2].search_minutes is None
    unet = rows[2].contrast
    assert unet is not None and unet.difference == pytest.approx(-0.0995)
    # All six runs of one sign: 2 of 64 patterns; that row is not primary, but alone with its correction.
    assert unet.over_runs.p == pytest.approx(2 / 64) and unet.p_over_runs == pytest.approx(2 / 64)
    assert unet.interval is not None and unet.interval.low <= -0.0995 <= unet.interval.high


def test_genotypes_that_differ_by_widths_alone_are_two_rows(tmp_path: Path) -> None:
    for number, genotype in enumerate((UNET, WIDE)):
        made_up_training(tmp_path / str(number), f"/{number}/g.json", case(0, 0.5), genotype=genotype)
    assert [row.name for row in table_of(tmp_path).rows] == ["g (1)", "g (2)"]


def test_a_row_without_the_label_of_another(tmp_path: Path) -> None:
    made_up_training(tmp_path / "a", "dynunet", case(0, 0.5), label="U-Net (sum, grid)")
    made_up_training(tmp_path / "b", "preset:unet", case(0, 0.5))
    assert [row.name for row in table_of(tmp_path).rows] == [
        "U-Net (sum, grid)",
        "U-Net (sum, grid) (unlabelled)",
    ]


def test_unequal_multiply_adds_are_noted(nested: Path) -> None:
    notes = table_of(nested, first="joint search", equal="multiply-adds").notes
    broken = "U-Net (sum, grid): has 1.06 times the first row's multiply-adds, though the table claims equal multiply-adds"
    assert broken in notes
    claimed = table_of(nested, first="joint search")
    assert claimed.equal == "parameters"  # the trainings' budget
    assert "U-Net (sum, grid): has 1.06 times the first row's multiply-adds" in claimed.notes
    with pytest.raises(UserError, match=r"--equal multiply_adds: expected multiply-adds or parameters"):
        table_of(nested, equal="multiply_adds")


def test_the_budget_says_what_is_equal(tmp_path: Path) -> None:
    for name, network, equal in (
        ("a", {"parameters": None, "multiply_adds": 10}, "multiply-adds"),
        ("b", {"parameters": None}, None),
    ):
        made_up_training(tmp_path / name, "dynunet", case(0, 0.5), network=network)
        assert table_of(tmp_path / name).equal == equal


def test_the_primary_contrast(nested: Path) -> None:
    first = {"first": "joint search"}
    by_place = table_of(nested, **first)
    assert (by_place.primary, by_place.is_primary_named) == ("best random", False)
    assert any("best random against joint search (the second row" in line for line in explanation(by_place))
    named = table_of(nested, primary="preset:unet", **first)
    assert (named.primary, named.is_primary_named) == ("U-Net (sum, grid)", True)
    assert [row.contrast.is_primary for row in named.rows if row.contrast] == [False, True]
    with pytest.raises(UserError, match=r"--primary joint search: is the first row itself"):
        table_of(nested, primary="joint search", **first)
    with pytest.raises(UserError, match=r"--primary unett: no such row"):
        table_of(nested, primary="unett", **first)


def test_the_trainings_name_the_primary_contrast(nested: Path) -> None:
    extra = nested / "x"
    made_up_training(extra, "dynunet", case(0, 0.5), network={"primary": "U-Net (sum, grid)"})
    named = table_of(nested, first="joint search")
    assert (named.primary, named.is_primary_named) == ("U-Net (sum, grid)", True)
    (extra / "run.yml").write_text(
        (extra / "run.yml").read_text().replace("primary: U-Net (sum, grid)", "primary: other")
    )
    absent = table_of(nested, first="joint search")
    assert absent.primary is None
    assert "the trainings name 'other' for the primary contrast, but there is no such row" in absent.notes[0]
    made_up_training(nested / "y", "segresnet", case(0, 0.5), network={"primary": "U-Net (sum, grid)"})
    with pytest.raises(
        UserError, match=r"several primary rows \(network\.primary: U-Net \(sum, grid\), other\)"
    ):
        table_of(nested)


def test_all_of_it_is_written(nested: Path, tmp_path: Path) -> None:
    comparison = table_of(nested, first="joint search", primary="U-Net (sum, grid)")
    values = json.loads(json.dumps(to_dict(comparison, tmp_path)))
    assert (values["version"], values["equal"], values["primary"]) == (2, "parameters", "U-Net (sum, grid)")
    unet = values["rows"][2]["against_first"]
    assert unet["is_primary"] and unet["interval"]["over_runs"]
    assert unet["sign_flips_over_runs"]["p"] == pytest.approx(2 / 64)
    assert unet["sign_flips_over_runs"]["p_holm"] is None
    assert values["rows"][0]["search_minutes"] == 15
    line = list(csv.DictReader(io.StringIO(csv_text(comparison))))[2]
    assert float(line["p_over_runs"]) == pytest.approx(2 / 64) and line["is_primary"] == "1"
    assert float(line["difference_low"]) <= float(line["difference"]) <= float(line["difference_high"])
    heading, rows = table_cells(comparison)
    cells = dict(zip(heading, rows[2], strict=True))
    assert cells["p over runs (sign flips)"] == "0.0312" and cells["search minutes"] == ""


def test_the_terminal_shows_multiply_adds_beside_parameters(nested: Path) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(terminal_table(table_of(nested, first="joint search")))
    shown = console.export_text()
    assert "5 M" in shown and "5.3 M" in shown and "0.0312" in shown
    assert "-0.0995" in shown and "…" not in shown and "flips" in shown
    assert all(len(line.rstrip()) < 120 for line in shown.splitlines())  # nothing is cut off


def test_one_label_at_two_budgets_is_two_rows(tmp_path: Path) -> None:
    for budget in (4e8, 1.2e9):
        for seed in (0, 1):
            made_up_training(
                tmp_path / f"unet-{budget:g}-{seed}",
                "preset:unet",
                {"a": [0.8 + seed / 100, 0.7]},
                seed=seed,
                label="unet",
                multiply_adds=int(budget),
                network={"multiply_adds": budget, "parameters": None},
            )
    rows = table_of(tmp_path).rows
    assert sorted((row.name, len(row.trainings)) for row in rows) == [("unet, 0.4 G", 2), ("unet, 1.2 G", 2)]
