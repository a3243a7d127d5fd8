"""The split and the loaders of a search."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from search_space.errors import UserError
from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.msd import Dataset, load_label, read_dataset
from uxnet_eval.preprocessing.case_grid import CaseGrid
from uxnet_eval.preprocessing.patch_stream import PatchStream
from uxnet_eval.preprocessing.transforms import restore_label
from uxnet_eval.search.data import SearchData, split_cases

PLAN = Plan(spacing_mm=(1, 1, 1), patch_size=(16, 16, 16), strides=((2, 2, 2),), batch_size=2)
PLAN_2D = Plan(spatial_dims=2, spacing_mm=(1, 1), patch_size=(16, 48), strides=((2, 2),), batch_size=3)


@pytest.fixture(scope="module")
def dataset(demo_set: Path) -> Dataset:
    return read_dataset(demo_set)


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
