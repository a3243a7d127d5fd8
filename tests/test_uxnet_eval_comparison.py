"""The comparison of trainings: means over seeds and folds worked by hand, the test, what is left out, what is written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from finished_trainings import made_up_experiment, made_up_training, trial_folder
from PIL import Image
from search_runs import made_up_run
from typer.testing import CliRunner

from search_space import presets
from search_space.errors import UserError
from uxnet_eval import cli
from uxnet_eval.comparison.display import table_cells
from uxnet_eval.comparison.table import Comparison, compare
from uxnet_eval.comparison.trainings import find_trainings
from uxnet_eval.comparison.writing import markdown, to_dict, write_comparison


def table_of(folder: Path, **options) -> Comparison:
    return compare(find_trainings([str(folder)]), **options)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two seeds of a searched network, one of the U-Net, three trainings of two random genotypes."""
    folder = tmp_path / "runs"
    made_up_training(folder / "a", "searched", {"A": (0.8, 0.6), "B": (0.9, 0.7)}, seed=0, minutes=10)
    made_up_training(folder / "b", "searched", {"A": (0.6, 0.4), "B": (0.7, 0.9)}, seed=1, minutes=20)
    made_up_training(folder / "c", "preset:unet", {"A": (0.5, 0.5), "B": (0.6, None)}, parameters=1060)
    made_up_training(folder / "d", "random:0", {"A": (0.4, 0.4), "B": (0.4, 0.4)}, seed=0)
    made_up_training(folder / "e", "random:0", {"A": (0.6, 0.6), "B": (0.6, 0.6)}, seed=1)
    made_up_training(folder / "f", "random:1", {"A": (0.9, 0.9), "B": (0.9, 0.9)}, seed=0)
    return folder


# Numbers ---------------------------------------------------------------------------------------------------------


def test_cases_are_averaged_over_seeds_before_anything_else(runs: Path) -> None:
    row = table_of(runs).rows[0]
    assert row.name == "searched" and len(row.trainings) == 2
    # Anterior A 0.7, B 0.8; posterior A 0.5, B 0.8; so per case 0.6 and 0.8, whose SD is 0.2 / sqrt(2).
    assert row.case_dice.to_dict() == pytest.approx({"A": 0.6, "B": 0.8})
    assert row.classes["anterior"]["dice"] == pytest.approx((0.75, 0.1 / 2**0.5))
    assert row.classes["posterior"]["dice"] == pytest.approx((0.65, 0.3 / 2**0.5))
    assert row.dice == pytest.approx((0.7, 0.2 / 2**0.5))
    # The seeds' own means are 0.75 and 0.65.
    assert row.sd_between_runs == pytest.approx(0.1 / 2**0.5)
    assert row.minutes == 15 and row.peak_memory_gib == 2.0 and row.parameters == 1000


def test_a_class_that_a_case_lacks_is_left_out(runs: Path) -> None:
    unet = table_of(runs).rows[1]
    assert unet.name == "U-Net (sum, grid)"
    assert unet.classes["posterior"]["dice"] == (0.5, None)
    assert unet.dice.mean == pytest.approx((0.55 + 0.5) / 2)
    assert unet.case_dice.to_dict() == pytest.approx({"A": 0.5, "B": 0.6})
    assert unet.sd_between_runs is None


def test_random_genotypes_weigh_the_same_however_many_seeds_they_have(runs: Path) -> None:
    row = table_of(runs).rows[2]
    assert row.name == "random genotypes, n=2" and row.num_genotypes == 2 and len(row.trainings) == 3
    assert row.dice.mean == pytest.approx(0.7)  # (mean of 0.4 and 0.6, and 0.9) / 2
    assert row.sd_between_runs == pytest.approx(0.251661, abs=1e-6)  # of 0.4, 0.6, 0.9
    names = [row.name for row in table_of(runs, each_random=True).rows]
    assert names == [
        "searched",
        "U-Net (sum, grid)",
        "random genotypes, n=2",
        "random genotype 0",
        "random genotype 1",
    ]


def test_one_training_gives_the_score_of_its_own_summary(tmp_path: Path) -> None:
    folder = made_up_training(tmp_path / "x", "dynunet", {"A": (0.2, None), "B": (0.4, 0.9)})
    row = table_of(folder).rows[0]
    assert row.dice.mean == json.loads((folder / "result.json").read_text())["default"] == pytest.approx(0.6)
    assert row.contrast is None


def test_folds_add_up(tmp_path: Path) -> None:
    for seed in (0, 1):
        made_up_training(tmp_path / f"{seed}0", "dynunet", {"A": (0.2, 0.2)}, fold=0, seed=seed)
        made_up_training(tmp_path / f"{seed}1", "dynunet", {"B": (0.4 + seed / 10,) * 2}, fold=1, seed=seed)
    row = table_of(tmp_path).rows[0]
    assert row.case_dice.to_dict() == pytest.approx({"A": 0.2, "B": 0.45})
    assert row.sd_between_runs == pytest.approx(0.05 / 2**0.5)  # of 0.3 and 0.35


# What is compared with what --------------------------------------------------------------------------------------


def test_the_first_row_can_be_chosen_by_name_or_architecture(runs: Path) -> None:
    for name in ("U-Net (sum, grid)", "preset:unet"):
        rows = table_of(runs, first=name).rows
        assert rows[0].name == "U-Net (sum, grid)" and rows[0].contrast is None
        assert rows[1].contrast is not None and rows[1].contrast.difference == pytest.approx(0.15)
    with pytest.raises(
        UserError, match=r"--first unett: no such row \(did you mean '.*unet'\?\); there are sear"
    ):
        table_of(runs, first="unett")


def test_two_genotypes_of_one_name_are_two_rows(tmp_path: Path) -> None:
    for number, preset in enumerate(("unet", "full", "unet")):
        made_up_training(
            tmp_path / str(number),
            f"/somewhere/{number}/genotype.json",
            {"A": (0.5, 0.5)},
            genotype=presets.get(preset, 3),
            seed=number,
        )
    rows = table_of(tmp_path).rows
    assert [(row.name, len(row.trainings)) for row in rows] == [("genotype (1)", 2), ("genotype (2)", 1)]


def test_unequal_trainings_are_noted(tmp_path: Path) -> None:
    made_up_training(tmp_path / "a", "searched", {"A": (0.5, 0.5), "B": (0.5, 0.5)})
    made_up_training(tmp_path / "b", "dynunet", {"B": (0.5, 0.5)}, epochs=9, parameters=1200)
    made_up_training(tmp_path / "c", "segresnet", {"A": (0.5, 0.5), "B": (0.5, 0.5)}, parameters=1090)
    made_up_training(tmp_path / "d", "segresnet", {"A": (0.5, 0.5), "B": (0.5, 0.5)}, seed=1, parameters=1090)
    notes = table_of(tmp_path).notes
    assert notes == [
        "DynUNet (nnU-Net): was not trained under the first row's settings; other train.epochs",
        "DynUNet (nnU-Net): has 1.20 times the first row's parameters, though the table claims equal parameters",
        "DynUNet (nnU-Net): was scored on 1 cases, the first row on 2, 1 of them the same; their means cannot be "
        "compared, the test takes the common cases",
        "SegResNet (MONAI): a case's scores are means over 2 trainings of a network, the first row's over 1",
    ]


def test_a_training_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made_up_training(tmp_path / name, "searched", {"A": (0.5, 0.5)})
    found = find_trainings([str(tmp_path), str(tmp_path / "a")])
    assert len(found.finished) == 2  # a is found by two ways
    comparison = compare(found)
    assert len(comparison.rows[0].trainings) == 1
    assert comparison.notes == [
        f"{tmp_path / 'b'}: searched, fold 0, seed 0 is there already in {tmp_path / 'a'}; left out"
    ]


def test_a_network_of_two_experiments_is_trained_once_with_a_seed(tmp_path: Path) -> None:
    """The U-Net of the paper's two tables: its genotype lies in another folder, but it is no second run."""
    for name in ("a", "b"):
        path = str(tmp_path / name / "proposals" / "0.json")
        unet = presets.get("unet", 3)
        made_up_training(tmp_path / name, path, {"A": (0.5, 0.5)}, label="unet", genotype=unet)
    assert len(table_of(tmp_path).rows[0].trainings) == 1


def test_other_classes_are_refused(tmp_path: Path) -> None:
    made_up_training(tmp_path / "a", "searched", {"A": (0.5, 0.5)})
    made_up_training(tmp_path / "b", "dynunet", {"A": (0.5,)}, class_names=["liver"])
    with pytest.raises(UserError, match=r"different classes \(.*a: anterior, posterior; .*b: liver\)"):
        table_of(tmp_path)


# What is missing -------------------------------------------------------------------------------------------------


def test_half_and_damaged_trainings_are_named(tmp_path: Path) -> None:
    made_up_training(tmp_path / "a", "searched", {"A": (0.5, 0.5)})
    made_up_training(tmp_path / "b", "dynunet", {}, fold=1, seed=2, finished=False)
    made_up_training(tmp_path / "c", "dynunet", {"A": (0.5, 0.5)})
    (tmp_path / "c" / "cases.csv").write_text("case_id,class\n")
    made_up_training(tmp_path / "d", "dynunet", {"A": (0.5, 0.5)})
    (tmp_path / "d" / "result.json").write_text('{"default": 0.5')
    made_up_training(tmp_path / "e", "dynunet", {"A": (0.5, 0.5)})
    (tmp_path / "e" / "result.json").write_text('{"default": 0.5}')
    made_up_run(tmp_path / "search")  # a search beside them is none of our business
    found = find_trainings([str(tmp_path)])
    assert [training.folder.name for training in found.finished] == ["a"]
    assert found.notes[0] == (
        f"{tmp_path / 'b'}: dynunet, fold 1, seed 2: not finished (2 of 4 epochs validated); left out"
    )
    assert "cases.csv: not a table of scores" in found.notes[1]
    assert "result.json: is damaged or cut short (not JSON" in found.notes[2]
    assert "result.json: lacks architecture, fold" in found.notes[3]
    assert len(found.notes) == 4


def test_sources_without_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no training \(run\.yml with a section train"):
        find_trainings([str(tmp_path / "empty")])
    with pytest.raises(UserError, match=r"^runs/none: no such folder"):
        find_trainings(["runs/none"])
    with pytest.raises(UserError, match=r"experiment 'AbCd1234' is not known to NNI"):
        find_trainings(["AbCd1234"])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"is a file; give a folder or an NNI experiment's id"):
        find_trainings([str(tmp_path / "file")])
    made_up_training(tmp_path / "half", "dynunet", {}, finished=False)
    with pytest.raises(UserError, match=r"half: no training is finished; .*2 of 4 epochs validated"):
        find_trainings([str(tmp_path / "half")])


def test_trials_of_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    experiment = made_up_experiment(
        tmp_path / "AbCd1234",
        {"aaaaa": ("SUCCEEDED", {"default": 0.5}), "bbbbb": ("EARLY_STOPPED", {}), "ccccc": ("FAILED", {})},
    )
    made_up_training(trial_folder(experiment, "aaaaa"), "searched", {"A": (0.5, 0.5)})
    made_up_training(trial_folder(experiment, "bbbbb"), "dynunet", {}, finished=False)
    found = find_trainings([str(experiment)])
    assert [training.folder.name for training in found.finished] == ["aaaaa"]
    assert found.notes == [
        "trial 1 (bbbbb), EARLY_STOPPED: dynunet, fold 0, seed 0: not finished (2 of 4 epochs validated); left out",
        "trial 2 (ccccc), FAILED: has not begun to train; parameters {'seed': 2}",
    ]


def test_an_experiment_of_searches_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    experiment = made_up_experiment(tmp_path / "AbCd1234", {"aaaaa": ("SUCCEEDED", {"default": 0.5})})
    folder = made_up_run(trial_folder(experiment, "aaaaa"))
    (folder / "run.yml").write_text("search: {epochs: 3}\n")
    with pytest.raises(
        UserError, match=r"AbCd1234: its trials are searches, not trainings; derive genotypes"
    ):
        find_trainings([str(experiment)])


# What is written -------------------------------------------------------------------------------------------------


def test_files_hold_the_same_numbers(runs: Path, tmp_path: Path) -> None:
    comparison = table_of(runs)
    files = write_comparison(comparison, tmp_path / "out")
    assert [path.name for path in files] == [
        f"comparison.{ending}" for ending in ("md", "csv", "json", "png")
    ]
    lines = files[0].read_text().splitlines()
    assert lines[0].startswith(
        "| network | Dice | Dice, 95 % | anterior | posterior | between runs | parameters |"
    )
    assert lines[2].startswith("| searched | 0.7000 ± 0.1414 | ")
    assert (
        "| 0.7500 ± 0.0707 | 0.6500 ± 0.2121 | 0.0707 | 1 k | 5 M | 15.0 |  | 2.0 GiB | 2 | - |" in lines[2]
    )
    assert lines[4].startswith("| random genotypes, n=2 | 0.7000 ± 0.0000 |")
    assert "averaged over the seeds first" in files[0].read_text()
    row = next(csv.DictReader(io.StringIO(files[1].read_text())))
    assert (
        float(row["dice_mean"]) == pytest.approx(0.7) and row["p_over_cases"] == "" and row["num_runs"] == "2"
    )
    values = json.loads(files[2].read_text())
    assert values["rows"][1]["against_first"]["difference"] == pytest.approx(-0.15)
    assert values["rows"][0]["seeds"] == [0, 1] and values["rows"][2]["architectures"] == [
        "random:0",
        "random:1",
    ]
    assert values == json.loads(json.dumps(to_dict(comparison, tmp_path / "out")))
    with Image.open(files[3]) as picture:
        assert picture.size[0] == 2100
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_no_absolute_path_is_written(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genotype = tmp_path / "g" / "genotype.json"
    made_up_training(runs / "g", str(genotype), {"A": (0.5, 0.5)}, genotype=presets.get("unet"))
    made_up_training(runs / "h", str(genotype), {"A": (0.5, 0.5)}, genotype=presets.get("unet"))  # a twin
    made_up_training(runs / "i", "dynunet", {}, finished=False)
    (made_up_training(runs / "j", "dynunet", {"A": (0.5, 0.5)}) / "result.json").write_text("{")
    files = write_comparison(table_of(runs), tmp_path / "out")
    for path in files[:3]:
        assert str(tmp_path) not in path.read_text()
    values = json.loads(files[2].read_text())
    assert values["rows"][0]["folders"] == ["../runs/a", "../runs/b"]
    assert next(row for row in values["rows"] if row["network"] == "genotype")["architectures"] == [
        "../g/genotype.json"
    ]
    assert any(note.startswith("../runs/i: dynunet") for note in values["notes"])
    assert any(note.startswith("../runs/j: damaged") for note in values["notes"])
    assert any(note.startswith("../runs/h: ../g/genotype.json, fold 0") for note in values["notes"])
    monkeypatch.chdir(tmp_path)
    assert to_dict(table_of(Path("runs")), Path("out"))["rows"][0]["folders"] == ["../runs/a", "../runs/b"]


def test_a_bar_in_a_name_does_not_break_the_table(tmp_path: Path) -> None:
    made_up_training(tmp_path / "a", "x|y.json", {"A": (0.5, 0.5)})
    comparison = table_of(tmp_path)
    assert "| x\\|y |" in markdown(comparison, tmp_path)
    assert table_cells(comparison)[1][0][0] == "x|y"


def test_command(runs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    made_up_training(runs / "g", "dynunet", {}, finished=False)
    run = CliRunner().invoke(cli.app, ["compare", str(runs), "-o", str(output)], catch_exceptions=False)
    assert run.exit_code == 0
    assert "note: " in run.output and "2 of 4 epochs validated" in run.output
    assert "comparison.png" in run.output.replace("\n", "")
    with pytest.raises(UserError, match=r"comparison\.md: exists already; .*--force"):
        CliRunner().invoke(cli.app, ["compare", str(runs), "-o", str(output)], catch_exceptions=False)
    run = CliRunner().invoke(cli.app, ["compare", str(runs), "-o", str(output), "--force"])
    assert run.exit_code == 0
