"""Cases of one patient stay in one fold, everywhere; ``splits_final.json`` is followed to the case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msd_folder import write_msd_folder
from nnunet_folder import edit, write_nnunet_folder
from typer.testing import CliRunner

from search_space.errors import UserError
from uxnet_eval.cli import app
from uxnet_eval.config.contest import ContestConfig
from uxnet_eval.config.search import RunConfig
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.dataset.cases import Case, Dataset, Patients
from uxnet_eval.dataset.check import facts, too_few_cases
from uxnet_eval.dataset.folds import make_folds, split_fold, store_folds
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.dataset.patients import patients_by_name
from uxnet_eval.search.data import split_cases, split_for
from uxnet_eval.training.preparation import prepare

PLAN = {"spacing_mm": [1, 1, 1], "patch_size": [8, 8, 8], "strides": [[2, 2, 2]]}
PAIRS = [f"patient{number:03d}_frame{frame}" for number in range(1, 8) for frame in ("01", "12")]


def write_scans(folder: Path, case_ids: list[str]) -> Path:
    rng = np.random.default_rng(0)
    label = np.zeros((8, 8, 8))
    label[2:5, 2:5, 2:5] = 1
    image = rng.normal(size=label.shape).astype(np.float32)
    write_msd_folder(folder, {case_id: (image, label, np.eye(4)) for case_id in case_ids})
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Seven patients of two frames each, called as in ACDC."""
    return write_scans(tmp_path / "pairs", PAIRS)


def patient(case_id: str) -> str:
    return case_id.partition("_")[0]


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_dataset(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_splits(folder: Path, *splits: tuple[list[str], list[str]] | Any) -> None:
    folds = [{"train": s[0], "val": s[1]} if isinstance(s, tuple) else s for s in splits]
    (folder / "splits_final.json").write_text(json.dumps(folds))


# ---- names ----


@pytest.mark.parametrize(
    ("case_ids", "expected"),
    [
        (["patient001_frame01", "patient001_frame12"], ["patient001", "patient001"]),
        (["sub-01_ses-01", "sub-01_ses-02", "sub-02_ses-01"], ["sub-01", "sub-01", "sub-02"]),
        (["A0S9_ED", "A0S9_ES"], ["A0S9", "A0S9"]),
        (["case7_slice001", "case7_slice002"], ["case7", "case7"]),
        (["p1_visit_1", "p1_visit_2", "other"], ["p1", "p1", "other"]),
    ],
)
def test_names_that_tell_the_patient(case_ids: list[str], expected: list[str]) -> None:
    found = patients_by_name(case_ids)
    assert [found.of(case_id) for case_id in case_ids] == expected


@pytest.mark.parametrize(
    "case_ids",
    [
        ["hippocampus_001", "hippocampus_003"],
        ["la_003", "la_004"],
        ["dsb_003cee89357d", "dsb_00ae65c1c663"],
        ["BRATS_001", "BRATS_002"],
        ["frame01", "frame02"],  # frames of what?
        ["scan_frame1", "scan_frame2"],  # no number of a patient
        ["patient001_frame01", "patient002_frame12"],  # one frame each
    ],
)
def test_names_that_tell_none(case_ids: list[str]) -> None:
    assert patients_by_name(case_ids) == Patients()


# ---- declared patients ----


def test_declared_in_dataset_json_or_in_a_table(pairs: Path) -> None:
    groups = {case_id: 1 if case_id < "patient003" else case_id for case_id in PAIRS}
    edit(pairs, groups=groups)
    declared = read_dataset(pairs)
    assert declared.patients.of("patient001_frame01") == declared.patients.of("patient002_frame12") == "1"
    assert declared.num_patients == 1 + 10
    edit(pairs, groups=None)
    lines = [f"{case_id},{name}" for case_id, name in groups.items()]
    (pairs / "groups.csv").write_text("\n".join(["case,patient", *lines, ""]))
    table = read_dataset(pairs)
    assert table.patients.of_case == declared.patients.of_case
    assert (declared.patients.source, table.patients.source) == ("groups in dataset.json", "groups.csv")


def test_declared_patients_overrule_names(pairs: Path) -> None:
    edit(pairs, groups={case_id: case_id for case_id in PAIRS})
    assert read_dataset(pairs).num_patients == 14
    assert facts(read_dataset(pairs)) == []


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            {case_id: "a" for case_id in PAIRS[1:]},
            "1 of 14 training cases have no patient (patient001_frame01)",
        ),
        ({**dict.fromkeys(PAIRS, "a"), "patient001_frame02": "a"}, "(did you mean 'patient001_frame12'?)"),
        (["a"], "groups is ['a'], expected an object of case ids and patients"),
        (dict.fromkeys(PAIRS, ""), "expected an object of case ids and patients"),
    ],
)
def test_bad_groups(pairs: Path, groups: Any, message: str) -> None:
    edit(pairs, groups=groups)
    assert message in refused(pairs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with '', expected case,patient"),
        ("patient001_frame01,a\n", "begins with 'patient001_frame01,a', expected case,patient"),
        (
            "case,patient\npatient001_frame01\n",
            "line 2 is 'patient001_frame01', expected a case and its patient",
        ),
        ("case,patient\na,1\na,2\n", "line 3 names the case a again"),
        ("case,patient\n", "14 of 14 training cases have no patient"),
    ],
)
def test_bad_table(pairs: Path, text: str, message: str) -> None:
    (pairs / "groups.csv").write_text(text)
    assert message in refused(pairs)


def test_groups_twice(pairs: Path) -> None:
    edit(pairs, groups=dict.fromkeys(PAIRS, "a"))
    (pairs / "groups.csv").write_text("case,patient\n")
    assert "declares groups, and groups.csv lies beside it; keep one" in refused(pairs)


# ---- folds of patients ----


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 5), min_size=5, max_size=12), st.integers(0, 3))
def test_folds_keep_patients_together(sizes: list[int], seed: int) -> None:
    of_case = {f"{number}-{k}": str(number) for number, size in enumerate(sizes) for k in range(size)}
    folds = make_folds(list(of_case), 5, seed, Patients(of_case, "made"))
    assert sorted(case_id for fold in folds for case_id in fold) == sorted(of_case)
    seen = [{of_case[case_id] for case_id in fold} for fold in folds]
    assert sum(map(len, seen)) == len(sizes)  # no patient is in two folds
    assert all(seen)
    # Dealt from large to small, so no fold is ahead of another by more than one patient's cases.
    assert max(map(len, folds)) - min(map(len, folds)) <= max(sizes)


def test_search_keeps_patients_together(pairs: Path) -> None:
    dataset = read_dataset(pairs)
    for seed in range(5):
        split = split_cases(dataset, seed=seed, num_validation=3)
        groups = [{patient(case.case_id) for case in group} for group in vars(split).values()]
        assert [len(group) for group in groups] == [2, 2, 3]
        assert len(set.union(*groups)) == 7


def test_cases_of_two_patients_are_too_few(tmp_path: Path) -> None:
    dataset = read_dataset(write_scans(tmp_path / "two", PAIRS[:4]))
    assert "found 4 training cases of 2 patients, expected at least 3 patients" in str(too_few_cases(dataset))
    with pytest.raises(
        UserError, match="found 4 training cases of 2 patients for 5 folds; set num_folds to 2"
    ):
        split_fold(dataset, fold=0, num_folds=5, seed=0)


def configs(folder: Path) -> dict[str, Any]:
    return {"dataset": str(folder), "plan": PLAN}


def seen_by_search(folder: Path, **search: Any) -> tuple[set[str], set[str]]:
    """Ids that a search learns from and validates on."""
    config = RunConfig.parse({**configs(folder), "search": search}, "test")
    _, split = split_for(config, read_dataset(folder))
    learned = {case.case_id for case in (*split.architecture, *split.weights)}
    return learned, {case.case_id for case in split.validation}


def seen_by_training(folder: Path, **train: Any) -> tuple[set[str], set[str]]:
    """Ids that a training learns from and validates on."""
    config = TrainConfig.parse({**configs(folder), "train": train}, "test")
    training = prepare(config, folder / "out", folder)
    return {case.case_id for case in training.learned}, {case.case_id for case in training.held_out}


def contest_configs(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The folds of a contest's search, of its choice and of its final training."""
    contest: ContestConfig = ContestConfig.parse({**configs(folder), "contest": {"outer_fold": 1}}, "test")
    search = contest.search_config({}).search
    folds = {"left_out_fold": search.left_out_fold, "validation_fold": search.validation_fold}
    return folds, {"fold": contest.contest.inner, "left_out_fold": 1}, {"fold": 1}


def test_no_patient_is_learned_from_and_scored_in_a_contest(pairs: Path) -> None:
    search, choice, final = contest_configs(pairs)
    final_learned, scored = seen_by_training(pairs, **final)
    outer = {patient(case_id) for case_id in scored}
    assert outer and len(final_learned) + len(scored) == 14
    for learned, validated in (seen_by_search(pairs, **search), seen_by_training(pairs, **choice)):
        inner = {patient(case_id) for case_id in validated}
        others = {patient(case_id) for case_id in learned}
        assert inner and others and not (outer & inner or outer & others or inner & others)
        assert len(outer | inner | others) == 7
    assert not outer & {patient(case_id) for case_id in final_learned}


# ---- splits_final.json ----


def test_splits_are_followed_to_the_case(hippocampus: Path, tmp_path: Path) -> None:
    """On a raw folder of nnU-Net from real data, in training, search and contest."""
    folder = write_nnunet_folder(tmp_path / "Dataset004_Hippocampus", read_dataset(hippocampus), num_cases=12)
    ids = sorted(case.case_id for case in read_dataset(folder).cases)
    # Fold 2 leaves two cases out of both parts, as nnU-Net allows.
    parts = [ids[:4], ids[4:7], ids[7:10]]
    splits = [([i for i in ids if i not in part], part) for part in parts]
    splits[2] = (ids[:7], ids[7:10])
    write_splits(folder, *splits)
    dataset = read_dataset(folder)
    assert "the folds are the 3 of splits_final.json" in facts(dataset)
    for fold, (train, val) in enumerate(splits):
        assert seen_by_training(folder, fold=fold) == (set(train), set(val))
        learned, validated = seen_by_search(folder, left_out_fold=fold)
        assert learned | validated == set(train) and validated
        assert seen_by_search(folder, validation_fold=fold) == (set(train), set(val))
    both = set(splits[0][0]) & set(splits[2][0]), set(parts[2])
    assert seen_by_search(folder, left_out_fold=0, validation_fold=2) == both
    assert seen_by_training(folder, left_out_fold=0, fold=2) == both
    assert contest_configs(folder)[1] == {"fold": 2, "left_out_fold": 1}

    store_folds(tmp_path, dataset, fold=2, num_folds=5, seed=0)
    stored = json.loads((tmp_path / "folds.json").read_text())
    assert stored["folds"] == parts and stored["learned"] == [train for train, _ in splits]
    assert (stored["num_folds"], stored["source"]) == (3, "splits_final.json")
    write_splits(folder, *splits[:2])
    with pytest.raises(UserError, match="the run began with other cases or folds"):
        store_folds(tmp_path, read_dataset(folder), fold=1, num_folds=5, seed=0)


def test_folds_that_are_not_there(pairs: Path) -> None:
    write_splits(pairs, (PAIRS[2:], PAIRS[:2]), (PAIRS[:2], PAIRS[2:]))
    with pytest.raises(UserError, match=r"there is no fold 4; splits_final\.json has 2, expected 0 to 1"):
        seen_by_training(pairs, fold=4)
    with pytest.raises(UserError, match=r"there is no fold 2; splits_final\.json has 2"):
        seen_by_search(pairs, validation_fold=2)
    with pytest.raises(
        UserError, match=r"splits_final\.json: has 2 folds, and num_folds is 3; leave num_folds"
    ):
        seen_by_training(pairs, num_folds=3)
    (pairs / "splits_final.json").unlink()
    with pytest.raises(UserError, match="there is no fold 7; the data set has 5, expected 0 to 4"):
        seen_by_search(pairs, left_out_fold=7)


def test_validation_fold_that_is_left_out(pairs: Path) -> None:
    write_splits(pairs, (PAIRS[4:], PAIRS[:4]), (PAIRS[6:], PAIRS[:2]))
    with pytest.raises(UserError, match="the validation cases of fold 1 are all left out with fold 0"):
        seen_by_search(pairs, left_out_fold=0, validation_fold=1)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            [(PAIRS[2:], [*PAIRS[:2], "patient099_frame01"])],
            "names the case patient099_frame01 under val, which is no",
        ),
        ([(["patient001_frame1"], PAIRS[2:])], "under train, which is no training case"),
        ([(PAIRS[1:], PAIRS[:2])], "fold 0 has the case patient001_frame12 in train and in val; take it out"),
        (
            [(PAIRS[2:], PAIRS[:2]), (PAIRS[1:], PAIRS[:1])],
            "fold 1 has the patient patient001 in train (patient001_frame12) and in val (patient001_frame01); move one "
            "of them, or say under groups in dataset.json that these are different patients",
        ),
        ([(PAIRS, [])], "fold 0 has [] under val, expected a list of case ids"),
        ([{"train": PAIRS}], "fold 0 has None under val, expected a list of case ids"),
        (["x"], "fold 0 has None under train"),
        ([], "found [], expected a list of folds, each with train and val"),
    ],
)
def test_bad_splits(pairs: Path, splits: list[Any], message: str) -> None:
    write_splits(pairs, *splits)
    assert message in refused(pairs)
    (pairs / "splits_final.json").write_text("[")
    assert "splits_final.json: cannot be read" in refused(pairs)


def test_patient_in_two_folds_may_be_two_patients(pairs: Path) -> None:
    write_splits(pairs, (PAIRS[1:], PAIRS[:1]))
    assert "has the patient patient001 in train" in refused(pairs)
    edit(pairs, groups={case_id: case_id for case_id in PAIRS})
    assert read_dataset(pairs).fixed_folds[0].held_out == ("patient001_frame01",)


# ---- uxnet check ----


def test_check_says_what_it_noticed(pairs: Path) -> None:
    write_splits(pairs, (PAIRS[2:], PAIRS[:2]))
    found = CliRunner().invoke(app, ["check", str(pairs)])
    assert found.exit_code == 0
    *notes, last = found.output.splitlines()[-3:]
    assert notes == [
        "note: 14 training cases are of 7 patients by the names of the cases, such as patient001_frame01 and "
        "patient001_frame12; all cases of a patient stay in one fold; if these are different patients, say so under "
        "groups in dataset.json",
        "note: the folds are the 1 of splits_final.json",
    ]
    assert last.startswith(f"{pairs}: no fault found")


# ---- three cases ----


def test_three_cases(tmp_path: Path) -> None:
    folder = write_scans(tmp_path / "three", ["a", "b", "c"])
    learned, validated = seen_by_search(folder)
    assert (len(learned), len(validated)) == (2, 1)
    with pytest.raises(UserError, match="found 3 training cases for 5 folds; set num_folds to 3 or less"):
        seen_by_training(folder)
    learned, validated = seen_by_training(folder, num_folds=3)
    assert (len(learned), len(validated)) == (2, 1)
    with pytest.raises(
        UserError,
        match="found cases of 3 patients, too few for 5 folds; leave left_out_fold and validation_fold out",
    ):
        seen_by_search(folder, left_out_fold=0)


def test_folds_of_single_cases_are_those_of_before() -> None:
    """The folds that runs were made with before patients were known."""
    ids = [f"case_{number:02d}" for number in range(13)]

    def before(seed: int) -> list[list[str]]:
        shuffled = [ids[i] for i in np.random.default_rng(seed).permutation(len(ids))]
        return [sorted(shuffled[fold::5]) for fold in range(5)]

    assert [make_folds(ids, 5, seed) for seed in range(4)] == [before(seed) for seed in range(4)]


def test_halves_of_single_cases_are_those_of_before() -> None:
    ids = [f"case_{number:02d}" for number in range(13)]
    cases = tuple(Case(case_id, Path(case_id), None) for case_id in ids)
    dataset = Dataset(Path("data"), "x", ("MRI",), ("none", "organ"), (0, 1), cases, (), 3)
    shuffled = [cases[i] for i in np.random.default_rng(3).permutation(len(cases))]
    split = split_cases(dataset, seed=3, num_validation=2)
    assert split.validation == tuple(shuffled[:2])
    assert split.architecture == tuple(shuffled[2:7]) and split.weights == tuple(shuffled[7:])
