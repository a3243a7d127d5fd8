"""Folds: disjoint, the same for the same seed, stored and kept to."""

from __future__ import annotations

from pathlib import Path

import pytest

from search_space.errors import UserError
from search_space.reading import read_json
from uxnet_eval.dataset.folds import make_folds, split_fold, store_folds
from uxnet_eval.dataset.msd import Case, Dataset

IDS = [f"case_{i:02d}" for i in range(13)]


def dataset_of(ids: list[str]) -> Dataset:
    cases = tuple(Case(i, Path(i), None) for i in ids)
    return Dataset(Path("data"), "x", ("MRI",), ("none", "organ"), (0, 1), cases, (), 3)


def test_folds_divide_the_cases() -> None:
    folds = make_folds(IDS, 5, seed=0)
    assert sorted(case for fold in folds for case in fold) == IDS
    assert sorted(len(fold) for fold in folds) == [2, 2, 3, 3, 3]


def test_folds_depend_on_the_seed_alone() -> None:
    assert make_folds(IDS[::-1], 5, seed=0) == make_folds(IDS, 5, seed=0)
    assert make_folds(IDS, 5, seed=1) != make_folds(IDS, 5, seed=0)


@pytest.mark.parametrize("fold", range(5))
def test_held_out_cases_are_not_learned_from(fold: int) -> None:
    learned, held_out = split_fold(dataset_of(IDS[::-1]), fold=fold, num_folds=5, seed=3)
    assert [case.case_id for case in held_out] == make_folds(IDS, 5, seed=3)[fold]
    assert sorted(case.case_id for case in (*learned, *held_out)) == IDS
    assert not set(learned) & set(held_out)


def test_more_folds_than_cases() -> None:
    with pytest.raises(UserError, match=r"found 3 training cases for 5 folds; set num_folds to 3 or less"):
        split_fold(dataset_of(IDS[:3]), fold=0, num_folds=5, seed=0)


def test_stored_and_kept_to(tmp_path: Path) -> None:
    store_folds(tmp_path, dataset_of(IDS), fold=2, num_folds=5, seed=0)
    stored = read_json(tmp_path / "folds.json")
    assert stored == {"fold": 2, "num_folds": 5, "split_seed": 0, "folds": make_folds(IDS, 5, seed=0)}
    store_folds(tmp_path, dataset_of(IDS[::-1]), fold=2, num_folds=5, seed=0)
    with pytest.raises(
        UserError, match=r"folds\.json: the run began with other cases or folds than data has now"
    ):
        store_folds(tmp_path, dataset_of(IDS[1:]), fold=2, num_folds=5, seed=0)
