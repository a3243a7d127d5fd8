"""Scores of folders: the files, and one clear line for what does not fit."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from search_space.errors import UserError
from search_space.reading import read_json
from uxnet_eval import cli
from uxnet_eval.dataset.label_folder import parse_labels
from uxnet_eval.dataset.msd import load_label, read_dataset
from uxnet_eval.evaluation.folders import (
    evaluate_folders,
    read_cases,
    refuse_output,
    score_cases,
    summarise,
    write_evaluation,
)

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])
VOXEL_MM3 = 6.0


def save(path: Path, label: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(label, affine), path)
    return path


def bar(first: int, length: int, value: int = 1) -> np.ndarray:
    """Voxels along the first axis (1 mm)."""
    label = np.zeros((12, 4, 4), np.uint8)
    label[first : first + length, 1, 1] = value
    return label


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """References and predictions: case a has Dice 2 * 3 / (4 + 4) = 0.75, case b 2 * 2 / (4 + 4) = 0.5."""
    references, predictions = tmp_path / "references", tmp_path / "predictions"
    for case_id, shift in (("a", 1), ("b", 2)):
        save(references / f"{case_id}.nii.gz", bar(2, 4))
        save(predictions / f"{case_id}.nii.gz", bar(2 + shift, 4))
    return references, predictions


def test_scores_of_two_folders(folders: tuple[Path, Path]) -> None:
    result = evaluate_folders(*folders)
    # Border to border along the bar of 1 mm: distances 0 0 0 1 in case a, so 0.15 + 0.7 = 0.85 at rank 2.85;
    # 0 0 1 2 in case b, so 1.85.
    volume = 4 * VOXEL_MM3
    assert result.cases["case_id"].tolist() == ["a", "b"]
    assert result.cases["class"].tolist() == ["1", "1"]
    assert result.cases["dice"].tolist() == [0.75, 0.5]
    assert result.cases["hd95_mm"].tolist() == pytest.approx([0.85, 1.85])
    assert result.cases["reference_volume_mm3"].tolist() == [volume, volume]
    dice = result.summary["classes"]["1"]["dice"]
    assert result.summary["mean_dice"] == dice["mean"] == dice["median"] == 0.625
    assert dice["sd"] == pytest.approx(0.25 / math.sqrt(2))  # of the sample: both lie 0.125 from the mean
    assert dice["num_cases"] == result.summary["num_cases"] == 2
    assert dice["interval_95"] == [0.5, 0.75]  # a resample holds one case twice with probability 1/2
    assert result.summary["tolerance_mm"] == 1.0
    assert result.summary["volume_unit"] == "mm3"
    assert result.summary["versions"]["monai"]
    assert result.summary["warnings"] == []


def test_files_are_what_was_returned(folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = evaluate_folders(*folders, class_names={1: "NA", 5: "spleen"})
    write_evaluation(result, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cases.csv", "summary.json"]
    lines = (tmp_path / "out" / "cases.csv").read_text().splitlines()
    assert lines[0] == "case_id,class,dice,hd95_mm,nsd,reference_volume_mm3,predicted_volume_mm3"
    assert lines[2] == "a,spleen,,,,0.0,0.0"
    back = read_cases(tmp_path / "out" / "cases.csv")
    pd.testing.assert_frame_equal(back, result.cases, check_dtype=False, check_exact=True)
    assert read_json(tmp_path / "out" / "summary.json") == result.summary
    assert summarise(back) == {name: result.summary[name] for name in summarise(back)}


def test_nothing_is_left_when_the_second_file_cannot_be_written(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = evaluate_folders(*folders)
    real = Path.write_bytes

    def full_disk(path: Path, *args: Any, **kwargs: Any) -> int:
        if "summary" in path.name:
            path.touch()
            raise OSError(28, "No space left on device")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(UserError, match=r"out: the results cannot be written \(No space left on device\)"):
        write_evaluation(result, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_same_numbers_from_memory_and_from_files(demo_set: Path, tmp_path: Path) -> None:
    dataset = read_dataset(demo_set)
    cases = []
    for case in dataset.cases[:3]:
        label, affine = load_label(case, dataset)
        prediction = np.roll(label, 1, 0)
        save(
            tmp_path / f"{case.case_id}.nii.gz",
            np.array(dataset.label_values)[prediction].astype(np.uint8),
            affine,
        )
        cases.append((case.case_id, label, prediction, nib.affines.voxel_sizes(affine)))
    from_memory = score_cases(cases, dataset.class_names)
    from_files = evaluate_folders(dataset, tmp_path, allow_missing=True)
    pd.testing.assert_frame_equal(from_files.cases, from_memory, check_exact=True)
    assert from_files.summary["mean_dice"] == summarise(from_memory)["mean_dice"]
    assert len(from_files.summary["not_scored"]["references_without_prediction"]) == len(dataset.cases) - 3


def test_score_cases_names_the_case() -> None:
    with pytest.raises(ValueError, match="b: reference has shape"):
        score_cases([("b", bar(1, 2), bar(1, 2)[1:], (1, 1, 1))], ["background", "organ"])


def test_real_label_against_itself_and_against_itself_shifted(hippocampus: Path, tmp_path: Path) -> None:
    dataset = read_dataset(hippocampus)
    case = dataset.cases[0]
    assert case.label is not None
    stored = nib.load(case.label)
    voxels = np.asarray(stored.dataobj).astype(np.uint8)
    assert not voxels[-1].any()  # so that rolling is shifting
    for name, shift in (("same", 0), ("shifted", 1)):
        save(tmp_path / name / f"{case.case_id}.nii.gz", np.roll(voxels, shift, 0), stored.affine)
    same = evaluate_folders(dataset, tmp_path / "same", allow_missing=True)
    assert same.cases[["dice", "hd95_mm", "nsd"]].to_numpy().tolist() == [[1.0, 0.0, 1.0]] * 2
    # Shifted by one voxel of 1 mm: no point of a surface lies further than 1 mm from the other one.
    shifted = evaluate_folders(dataset, tmp_path / "shifted", allow_missing=True, tolerance_mm=1.0)
    assert shifted.cases["hd95_mm"].tolist() == [1.0, 1.0]
    assert shifted.cases["nsd"].tolist() == [1.0, 1.0]
    for row, value in zip(shifted.cases.itertuples(), (1, 2), strict=True):
        mask = voxels == value
        assert row.dice == 2 * (mask[1:] & mask[:-1]).sum() / (2 * mask.sum())
        assert row.reference_volume_mm3 == row.predicted_volume_mm3 == mask.sum()
    tight = evaluate_folders(dataset, tmp_path / "shifted", allow_missing=True, tolerance_mm=0.5)
    assert (tight.cases["nsd"] < 0.9).all()


def test_pictures_of_values_0_and_255(tmp_path: Path) -> None:
    label = np.zeros((6, 8), np.uint8)
    label[2:4, 2:6] = 255
    for name, shift in (("references", 0), ("predictions", 2)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.roll(label, shift, 1)).save(tmp_path / name / "mole.png")
    result = evaluate_folders(tmp_path / "references", tmp_path / "predictions")
    assert result.cases.iloc[0][["case_id", "class", "dice", "reference_volume_mm3"]].tolist() == [
        "mole",
        "255",
        0.5,
        8,
    ]
    assert result.summary["volume_unit"] == "mm2"
    assert result.summary["label_values"] == {"background": 0, "255": 255}


def test_hidden_files_and_other_files_are_no_cases(folders: tuple[Path, Path]) -> None:
    references, predictions = folders
    (references / "._a.nii.gz").write_bytes(b"macOS")
    (references / "preview.png").write_bytes(b"not a label")
    (predictions / "cases.csv").write_text("")
    assert evaluate_folders(*folders).summary["num_cases"] == 2


@pytest.mark.parametrize(
    ("class_names", "num_files"),
    [(None, 6), ({1: "organ"}, 4)],  # two references, read once more to find the classes, and two predictions
)
def test_progress_ends_at_its_total(
    class_names: dict[int, str] | None, num_files: int, folders: tuple[Path, Path]
) -> None:
    seen: list[tuple[int, int]] = []
    evaluate_folders(*folders, class_names=class_names, progress=lambda *pair: seen.append(pair))
    assert seen == [(n, num_files) for n in range(1, num_files + 1)]


def test_missing_files_are_all_named(folders: tuple[Path, Path]) -> None:
    references, predictions = folders
    for name in ("c", "d"):
        save(references / f"{name}.nii.gz", bar(2, 4))
    save(predictions / "e.nii.gz", bar(2, 4))
    message = (
        r"predictions: 2 of 4 references \(.*references\) without a prediction: c, d; "
        r"1 of 3 predictions without a reference: e; .*--allow-missing$"
    )
    with pytest.raises(UserError, match=message):
        evaluate_folders(*folders)
    summary = evaluate_folders(*folders, allow_missing=True).summary
    assert summary["num_cases"] == 2
    assert summary["mean_dice"] == 0.625  # the others do not count
    assert summary["not_scored"] == {
        "references_without_prediction": ["c", "d"],
        "predictions_without_reference": ["e"],
    }
    for name in ("a", "b"):
        (predictions / f"{name}.nii.gz").unlink()
    with pytest.raises(UserError, match="no case has both files; 4 of 4 references"):
        evaluate_folders(*folders, allow_missing=True)


def rotated() -> np.ndarray:
    affine = AFFINE.copy()
    affine[:2, :2] = [[0, 2], [-1, 0]]
    return affine


@pytest.mark.parametrize(
    ("prediction", "affine", "message"),
    [
        (bar(2, 4)[1:], AFFINE, "found a prediction of shape 11x4x4, expected 12x4x4"),
        (bar(2, 4), np.diag([1, 2, 3.01, 1]), r"affine differs .* up to 0\.01 voxels apart"),
        (bar(2, 4), rotated(), "affine differs"),
        (
            bar(2, 4, value=7),
            AFFINE,
            r"undeclared label values \(7\), expected 0, 1; .* with --label VALUE=NAME$",
        ),
        (bar(2, 4) * np.float32(0.5), AFFINE, r"fractional label values \(0\.5\)"),
        (
            np.stack([bar(2, 4)] * 2, -1),
            AFFINE,
            "found an array of shape 12x4x4x2, expected a label of 3 axes",
        ),
    ],
    ids=["shape", "spacing", "rotation", "value", "fraction", "channels"],
)
def test_prediction_that_does_not_fit_is_named(
    prediction: np.ndarray, affine: np.ndarray, message: str, folders: tuple[Path, Path]
) -> None:
    path = save(folders[1] / "b.nii.gz", prediction, affine)
    with pytest.raises(UserError, match=message) as error:
        evaluate_folders(*folders)
    assert str(error.value).startswith(f"b: {path}: ")
    assert "\n" not in str(error.value)


def test_tiny_rounding_in_the_affine_is_accepted(folders: tuple[Path, Path]) -> None:
    save(folders[1] / "b.nii.gz", bar(2, 4), AFFINE * (1 + 1e-6))
    assert evaluate_folders(*folders).summary["num_cases"] == 2


def test_truncated_prediction_is_named(folders: tuple[Path, Path]) -> None:
    path = folders[1] / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"^a: .*a\.nii\.gz: truncated"):
        evaluate_folders(*folders)


def test_references_that_are_no_labels(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "a.nii.gz", bar(2, 4) * np.float32(0.3))
    with pytest.raises(UserError, match=r"^a: .*found the values 0\.3, expected whole label values"):
        evaluate_folders(*folders)
    for name in ("a", "b"):
        save(folders[0] / f"{name}.nii.gz", bar(2, 0))
    with pytest.raises(UserError, match="references: every reference holds 0 alone"):
        evaluate_folders(*folders)


def test_undeclared_value_points_at_dataset_json(demo_set: Path, tmp_path: Path) -> None:
    dataset = read_dataset(demo_set)
    stored = nib.load(dataset.cases[0].label)
    save(tmp_path / f"{dataset.cases[0].case_id}.nii.gz", np.full(stored.shape, 9, np.uint8), stored.affine)
    with pytest.raises(UserError, match=r"undeclared label values \(9\), .* under labels in dataset\.json$"):
        evaluate_folders(dataset, tmp_path, allow_missing=True)


def test_folders_that_hold_nothing(folders: tuple[Path, Path], demo_set: Path, tmp_path: Path) -> None:
    references, predictions = folders
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no label maps .* expected the predictions"):
        evaluate_folders(references, tmp_path / "empty")
    with pytest.raises(UserError, match=r"absent: no such folder, expected the references"):
        evaluate_folders(tmp_path / "absent", predictions)
    with pytest.raises(UserError, match="give it with --dataset"):
        evaluate_folders(demo_set, predictions)
    with pytest.raises(UserError, match="given as predictions and as references"):
        evaluate_folders(predictions, predictions)


def test_two_files_of_one_case(folders: tuple[Path, Path]) -> None:
    save(folders[1] / "a.nii", bar(2, 4))
    with pytest.raises(UserError, match=r"^a: .* holds both a\.nii and a\.nii\.gz"):
        evaluate_folders(*folders)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({0: "background", 1: "organ"}, "0 is the background"),
        ({70000: "organ"}, "from 1 to 65535"),
        ({1: "organ", 2: "organ"}, "two labels have one name"),
    ],
)
def test_class_names_refused(names: dict[int, str], message: str, folders: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_folders(*folders, class_names=names)


@pytest.mark.parametrize("texts", [["liver"], ["=liver"], ["1="], ["-1=liver"], ["1=liver", "1=spleen"]])
def test_labels_refused(texts: list[str]) -> None:
    with pytest.raises(UserError, match="--label"):
        parse_labels(texts)


def test_existing_results_are_kept(tmp_path: Path) -> None:
    refuse_output(tmp_path / "new", force=False)
    (tmp_path / "summary.json").write_text("precious")
    with pytest.raises(UserError, match=r"summary\.json: exists already"):
        refuse_output(tmp_path, force=False)
    refuse_output(tmp_path, force=True)
    with pytest.raises(UserError, match="is a file"):
        refuse_output(tmp_path / "summary.json", force=True)
    refuse_output(tmp_path / "absent" / "out", force=False)


def invoke(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)], catch_exceptions=False)


def test_command_prints_the_table_and_warnings(folders: tuple[Path, Path], tmp_path: Path) -> None:
    references, predictions = folders
    options = ("--label", "1=liver", "--label", "2=spleen", "--tolerance-mm", "2")
    result = invoke(predictions, "--references", references, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0
    for part in (
        "liver",
        "NSD at 2 mm",
        "foreground classes: 0.6250",
        "warning: class spleen occurs in no case",
    ):
        assert part in result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["mean_dice"] == 0.625
    assert summary["classes"]["spleen"]["hd95_mm"]["mean"] is None
    assert summary["tolerance_mm"] == 2.0


def test_command_scores_a_data_set(demo_set: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_set / "labelsTr", tmp_path / "predictions")
    os.remove(sorted((tmp_path / "predictions").iterdir())[0])
    arguments = (tmp_path / "predictions", "--dataset", demo_set, "-o", tmp_path / "out")
    with pytest.raises(UserError, match="1 of 8 references"):
        invoke(*arguments)
    assert not (tmp_path / "out").exists()
    result = invoke(*arguments, "--allow-missing")
    assert "1.0000" in result.output
    assert "1 case without a partner file not scored" in result.output
    with pytest.raises(UserError, match="exists already"):
        invoke(*arguments, "--allow-missing")


@pytest.mark.parametrize(
    "options", [(), ("--references", "r", "--dataset", "d"), ("--dataset", "d", "--label", "1=x")]
)
def test_command_wants_one_source_of_references(options: tuple[str, ...], tmp_path: Path) -> None:
    assert invoke(tmp_path, "-o", tmp_path / "out", *options).exit_code == 2
