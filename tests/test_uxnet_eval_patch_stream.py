"""Patch streams: how many, in which order, by how many threads, and how they are continued."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.transforms import Compose, Randomizable, Transform

from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.msd import Dataset, read_dataset
from uxnet_eval.preprocessing.patch_stream import PatchStream
from uxnet_eval.preprocessing.prepared_cases import PreparedCases

PLAN = Plan(spacing_mm=(1, 1, 1), patch_size=(16, 16, 16), strides=((2, 2, 2),), batch_size=2)


@pytest.fixture(scope="module")
def dataset(demo_set: Path) -> Dataset:
    return read_dataset(demo_set)


@pytest.fixture(scope="module")
def prepared(dataset: Dataset) -> PreparedCases:
    return PreparedCases(dataset.cases, dataset, PLAN)


def batches_of(stream: PatchStream) -> list[dict[str, torch.Tensor]]:
    return list(stream)


def same(a: list[dict[str, torch.Tensor]], b: list[dict[str, torch.Tensor]]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x[key], y[key]) for x, y in zip(a, b, strict=True) for key in ("image", "label")
    )


def test_stream_gives_exactly_its_steps(prepared: PreparedCases) -> None:
    stream = PatchStream(prepared, PLAN, steps_per_epoch=5)
    batches = batches_of(stream)
    assert len(batches) == len(stream) == 5
    for batch in batches:
        assert set(batch) == {"image", "label"}
        assert (batch["image"].shape, batch["image"].dtype) == ((2, 1, 16, 16, 16), torch.float32)
        assert (batch["label"].shape, batch["label"].dtype) == ((2, 1, 16, 16, 16), torch.int64)
        assert type(batch["image"]) is type(batch["label"]) is torch.Tensor
        assert batch["label"].max() < 4


@pytest.mark.parametrize("num_workers", [1, 3])
def test_threads_change_nothing(prepared: PreparedCases, num_workers: int) -> None:
    one, other = (
        PatchStream(prepared, PLAN, steps_per_epoch=7, seed=5, num_workers=n) for n in (0, num_workers)
    )
    for _ in range(2):
        assert same(batches_of(one), batches_of(other))


def test_a_resumed_stream_goes_on_where_it_stopped(prepared: PreparedCases) -> None:
    stream = PatchStream(prepared, PLAN, steps_per_epoch=3)
    epochs = [batches_of(stream) for _ in range(3)]
    assert not same(epochs[0], epochs[1])
    resumed = PatchStream(prepared, PLAN, steps_per_epoch=3)
    resumed.set_epoch(1)
    assert same(batches_of(resumed), epochs[1])
    assert same(batches_of(resumed), epochs[2])
    stream.set_epoch(0)
    assert same(batches_of(stream), epochs[0])


def test_streams_of_other_seeds_differ(prepared: PreparedCases) -> None:
    streams = [PatchStream(prepared, PLAN, steps_per_epoch=2, seed=seed) for seed in (0, 1, (0, 0), (0, 1))]
    epochs = [batches_of(stream) for stream in streams]
    for i, j in ((0, 1), (2, 3)):
        assert not same(epochs[i], epochs[j])


class _CaseNumber(Randomizable, Transform):
    """In place of the augmentation: the number of the case that was asked for."""

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        number = torch.tensor(float(item["case_id"].split("_")[-1])).reshape(1)
        return {"image": number, "label": number}


def case_numbers(prepared: PreparedCases, **settings: Any) -> list[int]:
    stream = PatchStream(prepared, PLAN, transform=Compose([_CaseNumber()]), **settings)
    return [int(n) for epoch in range(2) for batch in stream for n in batch["label"]]


def test_every_case_has_its_turn(prepared: PreparedCases) -> None:
    numbers = case_numbers(prepared, steps_per_epoch=6)  # 24 patches of 8 cases
    for start in (0, 8, 16):
        assert sorted(numbers[start : start + 8]) == list(range(8))
    assert numbers[:8] != numbers[8:16]


def test_processes_share_the_cases(prepared: PreparedCases) -> None:
    ranks = [case_numbers(prepared, steps_per_epoch=2, rank=rank, num_ranks=2) for rank in (0, 1)]
    together = list(itertools.chain(*zip(*ranks, strict=True)))  # 2 epochs x 2 steps x 2 ranks x 1 patch
    assert together == case_numbers(prepared, steps_per_epoch=2)  # the batches of one process
    assert Counter(together) == Counter(range(8))
    with pytest.raises(ValueError, match="3 processes cannot share a batch of 2"):
        PatchStream(prepared, PLAN, steps_per_epoch=1, num_ranks=3)


def test_threads_end_and_leave_torch_as_it_was(prepared: PreparedCases) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        stream = PatchStream(prepared, PLAN, steps_per_epoch=50, num_workers=2)
        iterator = iter(stream)
        next(iterator)
        assert any(thread.name.startswith("patches") for thread in threading.enumerate())
        assert torch.get_num_threads() == 2
        iterator.close()  # an epoch that is left early
        assert not any(thread.name.startswith("patches") for thread in threading.enumerate())
        found: list[int] = []
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert found == [2]
    finally:
        torch.set_num_threads(before)


class _Workers(Randomizable, Transform):
    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        number = torch.tensor([float(torch.get_num_threads())])
        return {"image": number, "label": number}


def test_workers_compute_with_one_thread_each(prepared: PreparedCases) -> None:
    stream = PatchStream(prepared, PLAN, steps_per_epoch=4, num_workers=2, transform=Compose([_Workers()]))
    assert {int(n) for batch in stream for n in batch["label"]} == {1}


class _Broken(Transform):
    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("surprise")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_in_a_thread_arrives(prepared: PreparedCases, num_workers: int) -> None:
    stream = PatchStream(
        prepared, PLAN, steps_per_epoch=4, num_workers=num_workers, transform=Compose([_Broken()])
    )
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        batches_of(stream)
    assert "surprise" in str(caught.value.__cause__)
    assert not any(thread.name.startswith("patches") for thread in threading.enumerate())
