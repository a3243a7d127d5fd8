"""The split, the patch streams and the loaders of a search."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import threading
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from monai.transforms import Compose, Randomizable, Transform

from search_space.errors import UserError
from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.msd import Case, Dataset, load_image, load_label, read_dataset
from uxnet_eval.preprocessing.case_grid import CaseGrid
from uxnet_eval.preprocessing.patch_stream import PatchStream
from uxnet_eval.preprocessing.prepared_cases import PreparedCases
from uxnet_eval.preprocessing.transforms import restore_label
from uxnet_eval.preprocessing.whole_cases import whole_case_loader
from uxnet_eval.search.data import SearchData, split_cases

PLAN = Plan(spacing_mm=(1, 1, 1), patch_size=(16, 16, 16), strides=((2, 2, 2),), batch_size=2)
PLAN_2D = Plan(spatial_dims=2, spacing_mm=(1, 1), patch_size=(16, 48), strides=((2, 2),), batch_size=3)


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


# ---- split ----


@pytest.mark.parametrize(
    ("num_cases", "held_out", "halves"), [(8, 2, (3, 3)), (7, 2, (2, 3)), (3, 1, (1, 1))]
)
def test_split_is_disjoint_and_even(
    dataset: Dataset, num_cases: int, held_out: int, halves: tuple[int, int]
) -> None:
    some = dataclasses.replace(dataset, cases=dataset.cases[:num_cases])
    split = split_cases(some, seed=0, num_validation=2)
    assert (len(split.validation), len(split.architecture), len(split.weights)) == (held_out, *halves)
    ids = [case.case_id for group in dataclasses.astuple(split) for case in _cases(group)]
    assert sorted(ids) == sorted(case.case_id for case in some.cases)


def _cases(group: Any) -> list[Any]:
    return [case if hasattr(case, "case_id") else type("Case", (), {"case_id": case[0]}) for case in group]


def test_split_depends_on_the_seed_and_not_on_the_order(dataset: Dataset) -> None:
    turned = dataclasses.replace(dataset, cases=dataset.cases[::-1])
    split = split_cases(dataset, seed=3, num_validation=2)
    assert split == split_cases(turned, seed=3, num_validation=2)
    assert any(split != split_cases(dataset, seed=seed, num_validation=2) for seed in range(4, 8))


def test_validation_takes_at_most_a_third(dataset: Dataset) -> None:
    split = split_cases(dataset, seed=0, num_validation=12)
    assert (len(split.validation), len(split.architecture), len(split.weights)) == (2, 3, 3)


def test_too_few_cases_to_split(dataset: Dataset) -> None:
    two = dataclasses.replace(dataset, cases=dataset.cases[:2])
    with pytest.raises(UserError, match="found 2 training cases, expected at least 3"):
        split_cases(two, seed=0, num_validation=1)


# ---- patch stream ----


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
    ranks = [case_numbers(prepared, steps_per_epoch=1, rank=rank, num_ranks=2) for rank in (0, 1)]
    assert Counter(itertools.chain(*ranks)) == Counter(range(8))  # 2 epochs x 2 ranks x 2 patches


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


# ---- prepared cases ----


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


# ---- search data ----


def search_data(dataset: Dataset, plan: Plan = PLAN, **settings: Any) -> SearchData:
    split = split_cases(dataset, seed=0, num_validation=2)
    return SearchData(dataset, plan, split, **{"steps_per_epoch": 3, "num_workers": 1, "seed": 0, **settings})


def test_halves_learn_from_their_own_cases(dataset: Dataset) -> None:
    data = search_data(dataset)
    data.setup()
    weights, architecture = data.weights_dataloader(), data.architecture_dataloader()
    assert data.train_dataloader() is weights
    assert weights.cases.cases == data.split.weights
    assert architecture.cases.cases == data.split.architecture
    first = batches_of(weights), batches_of(architecture)
    assert not same(*first)
    data.set_epoch(0)
    assert same(batches_of(weights), first[0]) and same(batches_of(architecture), first[1])


def test_halves_have_streams_of_their_own(dataset: Dataset) -> None:
    # Even with the same cases: otherwise both would be augmented alike.
    split = split_cases(dataset, seed=0, num_validation=2)
    split = dataclasses.replace(split, architecture=split.weights)
    data = SearchData(dataset, PLAN, split, steps_per_epoch=3, num_workers=0, seed=0)
    assert not same(batches_of(data.weights_dataloader()), batches_of(data.architecture_dataloader()))


def test_validation_gives_whole_cases_that_come_back(dataset: Dataset) -> None:
    data = search_data(dataset)
    batches = list(data.val_dataloader())
    assert [batch["case_id"] for batch in batches] == [case.case_id for case in data.split.validation]
    for batch, case in zip(batches, data.split.validation, strict=True):
        assert batch["image"].shape == batch["label"].shape == (1, 1, 24, 24, 16)
        assert (batch["image"].dtype, batch["label"].dtype) == (torch.float32, torch.int64)
        label, affine = load_label(case, dataset)
        restored, restored_affine = restore_label(batch["label"][0], batch["grid"])
        np.testing.assert_array_equal(restored, label)
        np.testing.assert_array_equal(restored_affine, affine)


def test_too_large_a_set_goes_to_the_folder(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"8 prepared cases exceed 0% of the free memory .*give a cache folder"
    ):
        search_data(dataset, memory_share=0.0).setup()
    folder = search_data(dataset, memory_share=0.0, cache_dir=tmp_path)
    memory = search_data(dataset)
    assert same(batches_of(folder.weights_dataloader()), batches_of(memory.weights_dataloader()))
    assert list(tmp_path.glob("*.pt"))


def test_images_smaller_than_the_patch(dataset: Dataset) -> None:
    plan = PLAN.model_copy(update={"patch_size": (32, 32, 32)})
    for batch in search_data(dataset, plan).weights_dataloader():
        assert batch["image"].shape == (2, 1, 32, 32, 32)


class _Learner(pl.LightningModule):
    """One convolution, and a record of what it was given."""

    def __init__(self, dims: int, channels: int):
        super().__init__()
        self.net = (torch.nn.Conv2d if dims == 2 else torch.nn.Conv3d)(channels, 4, 1)
        self.sums: list[tuple[int, float]] = []
        self.grids: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.sums.append((self.current_epoch, float(batch["image"].double().sum())))
        return torch.nn.functional.cross_entropy(self.net(batch["image"]), batch["label"][:, 0])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        prediction = self.net(batch["image"]).argmax(1)
        self.grids.append((batch["grid"], restore_label(prediction, batch["grid"])[0].shape))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(data: SearchData, folder: Path, max_epochs: int, **settings: Any) -> tuple[_Learner, pl.Trainer]:
    learner = _Learner(data.plan.spatial_dims, data.dataset.num_channels)
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*(does not have many workers|LeafSpec|exists and is not).*"
        )
        trainer.fit(learner, datamodule=data, **settings)
    return learner, trainer


@pytest.mark.parametrize("dims", [2, 3])
def test_lightning_trains_and_validates(
    dims: int, dataset: Dataset, demo_set_2d: Path, tmp_path: Path
) -> None:
    chosen, plan = (dataset, PLAN) if dims == 3 else (read_dataset(demo_set_2d), PLAN_2D)
    learner, trainer = fit(search_data(chosen, plan), tmp_path, 2)
    assert trainer.global_step == 6
    assert len(learner.grids) == 4
    assert all(isinstance(grid, CaseGrid) and grid.shape == shape for grid, shape in learner.grids)


def test_lightning_resumes_with_the_batches_that_were_due(dataset: Dataset, tmp_path: Path) -> None:
    whole, _ = fit(search_data(dataset), tmp_path / "whole", 4)
    first, trainer = fit(search_data(dataset), tmp_path / "part", 2)
    checkpoint = trainer.checkpoint_callback.best_model_path
    rest, _ = fit(search_data(dataset), tmp_path / "part", 4, ckpt_path=checkpoint)
    assert [epoch for epoch, _ in rest.sums] == [2, 2, 2, 3, 3, 3]
    assert first.sums + rest.sums == whole.sums
    assert len({total for _, total in whole.sums}) == 12


def test_2d_streams(demo_set_2d: Path) -> None:
    data = search_data(read_dataset(demo_set_2d), PLAN_2D)
    for batch in data.architecture_dataloader():
        assert batch["image"].shape == (3, 2, 16, 48)
        assert batch["label"].shape == (3, 1, 16, 48)


def test_whole_case_loader_keeps_the_order(prepared: PreparedCases, dataset: Dataset) -> None:
    found = [batch["case_id"] for batch in whole_case_loader(prepared)]
    assert found == [case.case_id for case in dataset.cases]
