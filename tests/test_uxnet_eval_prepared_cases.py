"""Prepared cases: in memory, in a folder or prepared anew, and as whole cases."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from search_space.errors import UserError
from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.msd import Case, Dataset, load_image, read_dataset
from uxnet_eval.preprocessing.case_grid import CaseGrid
from uxnet_eval.preprocessing.prepared_cases import PreparedCases
from uxnet_eval.preprocessing.whole_cases import whole_case_loader

PLAN = Plan(spacing_mm=(1, 1, 1), patch_size=(16, 16, 16), strides=((2, 2, 2),), batch_size=2)


@pytest.fixture(scope="module")
def dataset(demo_set: Path) -> Dataset:
    return read_dataset(demo_set)


@pytest.fixture(scope="module")
def prepared(dataset: Dataset) -> PreparedCases:
    return PreparedCases(dataset.cases, dataset, PLAN)


def test_memory_folder_and_no_cache_agree(dataset: Dataset, prepared: PreparedCases, tmp_path: Path) -> None:
    cases = dataset.cases[:2]
    variants = [
        PreparedCases(cases, dataset, PLAN, cache=False),
        PreparedCases(cases, dataset, PLAN, cache_dir=tmp_path),  # writes
        PreparedCases(cases, dataset, PLAN, cache_dir=tmp_path),  # reads
    ]
    for variant in variants:
        for i in range(2):
            expected, found = prepared[i], variant[i]
            assert torch.equal(found["image"], expected["image"])
            assert torch.equal(found["label"], expected["label"])
            assert all(map(torch.equal, found["foreground"], expected["foreground"]))
            assert found["case_id"] == expected["case_id"]
            assert isinstance(found["grid"], CaseGrid) and found["grid"] == expected["grid"]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".pt", ".pt"]


@pytest.mark.parametrize(("cache", "expected_reads"), [(True, 2), (False, 6)])
def test_memory_reads_each_case_once(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, cache: bool, expected_reads: int
) -> None:
    read: list[str] = []

    def counting(case: Case, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        read.append(case.case_id)
        return load_image(case, dataset)

    monkeypatch.setattr("uxnet_eval.preprocessing.transforms.load_image", counting)
    prepared = PreparedCases(dataset.cases[:2], dataset, PLAN, cache=cache)
    assert len(read) == (2 if cache else 0)
    items = [prepared[i] for _ in range(3) for i in range(2)]
    assert len(read) == expected_reads
    assert (items[0]["image"] is items[2]["image"]) == cache  # shared, not copied


def test_folder_is_read_and_notices_changes(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(demo_set, tmp_path / "set")
    dataset = read_dataset(tmp_path / "set")
    case, cache = dataset.cases[0], tmp_path / "cache"
    first = PreparedCases([case], dataset, PLAN, cache_dir=cache)[0]["image"].clone()

    def never(*_: object) -> None:
        raise AssertionError("the file was read again")

    with monkeypatch.context() as patched:
        patched.setattr("uxnet_eval.preprocessing.transforms.load_image", never)
        assert torch.equal(PreparedCases([case], dataset, PLAN, cache_dir=cache)[0]["image"], first)
    # Another image under the same name, and another plan, are prepared anew.
    shutil.copyfile(dataset.cases[1].image, case.image)
    assert not torch.equal(PreparedCases([case], dataset, PLAN, cache_dir=cache)[0]["image"], first)
    coarse = PLAN.model_copy(update={"spacing_mm": (2.0, 2.0, 2.0)})
    item = PreparedCases([case], dataset, coarse, cache_dir=cache)[0]
    assert item["image"].shape == (1, 12, 12, 8)


def test_a_bad_case_is_named_whatever_the_cache(demo_set: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_set, tmp_path / "set")
    dataset = read_dataset(tmp_path / "set")
    case = dataset.cases[0]
    case.image.write_bytes(case.image.read_bytes()[:100])
    for settings in ({}, {"cache": False}, {"cache_dir": tmp_path / "cache"}):
        with pytest.raises(UserError, match=f"^{case.case_id}: .*truncated"):
            PreparedCases([case], dataset, PLAN, **settings)[0]
    assert list((tmp_path / "cache").iterdir()) == []


def test_whole_case_loader_keeps_the_order(prepared: PreparedCases, dataset: Dataset) -> None:
    found = [batch["case_id"] for batch in whole_case_loader(prepared)]
    assert found == [case.case_id for case in dataset.cases]
