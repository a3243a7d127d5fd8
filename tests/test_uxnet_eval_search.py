"""A whole search on tiny data: what it writes, that it can be stopped and continued, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from search_space import Genotype, UserError, UXNet
from search_space.reading import read_json
from strategies.bilevel_steps import SparseDartsModule
from uxnet_eval.config.search import RunConfig
from uxnet_eval.dataset.folds import split_fold
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.runs.search_record import SearchRecord
from uxnet_eval.search.run import run_search


def write_config(folder: Path, dataset: Path, spatial_dims: int = 3, **search) -> Path:
    """A run configuration of a 3-level space with 2 base channels: seconds, not minutes."""
    values = {
        "dataset": str(dataset),
        "output": str(folder / "out"),
        "plan": {
            "spatial_dims": spatial_dims,
            "spacing_mm": [1.0] * spatial_dims,
            "patch_size": [16] * spatial_dims,
            "strides": [[2] * spatial_dims] * 2,
            "batch_size": 1,
        },
        "space": {"base_channels": 2},
        "search": {
            "epochs": 3,
            "steps_per_epoch": 2,
            "warmup_epochs": 1,
            "validation_cases": 2,
            "beta_learning_rate": 0.5,
            **search,
        },
        "runtime": {"num_threads": 1, "precision": "float32"},
    }
    path = folder / "tiny.run.yml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, demo_set) -> Path:
    folder = tmp_path_factory.mktemp("search")
    return run_search(write_config(folder, demo_set))


def test_output_holds_everything_that_later_commands_need(finished):
    record = SearchRecord.load(finished)
    assert [entry["epoch"] for entry in record.history] == [0, 1, 2]
    assert len(record.gates) == 11 and len(record.alphas) == 11  # 3 levels: 3 + 6 + 2 edges; 6 + 2 + 3 layers
    assert all(gate == 0.5 for gate in record.history[0]["gates"].values())  # warm-up
    assert all(gate != 0.5 for gate in record.gates.values())
    assert set(read_json(finished / "result.json")) == {
        "default",
        "derived_dice",
        "edges_kept",
        "decided_gates",
        "parameters",
        "search_minutes",
    }
    assert list((finished / "tensorboard").glob("events*"))
    assert RunConfig.load(finished / "run.yml").search.epochs == 3
    kept = [set(Genotype.load(finished / "genotypes" / f"tau-{tau}.json").edges) for tau in ("0.50", "0.60")]
    assert kept[0] and kept[1]


@pytest.mark.parametrize("validate_every", [2, 5])
def test_the_last_epoch_ends_with_a_validation(tmp_path, demo_set, validate_every):
    folder = run_search(write_config(tmp_path, demo_set, validate_every=validate_every))
    record = SearchRecord.load(folder)
    assert [entry["epoch"] for entry in record.history] == ([1, 2] if validate_every == 2 else [2])
    assert json.loads((folder / "result.json").read_text())["default"] == record.history[-1]["default"]


def test_exported_genotype_builds_a_network_that_trains(finished):
    genotype = Genotype.load(finished / "genotype.json")
    config = RunConfig.load(finished / "run.yml").space_config(in_channels=1, num_classes=4)
    network = UXNet(config, genotype)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    torch.manual_seed(0)
    image, label = torch.randn(1, 1, 16, 16, 16), torch.randint(0, 4, (1, 16, 16, 16))
    losses = []
    for _ in range(4):
        loss = torch.nn.functional.cross_entropy(network(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("epoch", [0, 1])
def test_stopped_search_continues_to_the_same_result(finished, tmp_path, demo_set, monkeypatch, epoch):
    config = write_config(tmp_path, demo_set)
    step = SparseDartsModule.training_step

    def stop(self, batch, batch_idx):
        if (self.trainer.current_epoch, batch_idx) == (epoch, 1):
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(SparseDartsModule, "training_step", stop)
        with pytest.raises(KeyboardInterrupt):
            run_search(config)
    assert (tmp_path / "out" / "checkpoint.ckpt").exists()
    assert not (tmp_path / "out" / "result.json").exists()
    continued = run_search(config)
    first, second = SearchRecord.load(finished), SearchRecord.load(continued)
    assert [entry["epoch"] for entry in second.history] == [0, 1, 2]
    assert second.gates == first.gates and second.alphas == first.alphas
    weights = [
        torch.load(folder / "checkpoint.ckpt", weights_only=True)["state_dict"]
        for folder in (finished, continued)
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_left_out_fold_plays_no_part(tmp_path, demo_set, monkeypatch):
    dataset = read_dataset(demo_set)
    _, held_out = split_fold(dataset, fold=1, num_folds=5, seed=0)
    seen = []

    def stop(dataset, *args, **kwargs):
        seen.extend(case.case_id for case in dataset.cases)
        raise KeyboardInterrupt

    monkeypatch.setattr("uxnet_eval.search.run.SearchData", stop)
    with pytest.raises(KeyboardInterrupt):
        run_search(write_config(tmp_path, demo_set, left_out_fold=1))
    assert held_out and sorted(seen) == sorted(
        {c.case_id for c in dataset.cases} - {c.case_id for c in held_out}
    )


def test_finished_search_is_left_alone(finished, tmp_path, demo_set):
    shutil.copytree(finished, tmp_path / "out")
    before = (tmp_path / "out" / "search.json").stat().st_mtime_ns
    run_search(write_config(tmp_path, demo_set))
    assert (tmp_path / "out" / "search.json").stat().st_mtime_ns == before


def test_a_run_of_an_earlier_version_is_the_same_run(finished, tmp_path, demo_set):
    """Its ``run.yml`` and ``search.json`` know nothing of the settings that came later."""
    output = shutil.copytree(finished, tmp_path / "out")
    kept = yaml.safe_load((output / "run.yml").read_text())
    assert kept["search"].pop("alpha_schedule") == kept["search"].pop("beta_schedule") == "constant"
    assert kept["space"].pop("width_choices")  # a sequence
    (output / "run.yml").write_text(yaml.safe_dump(kept))
    assert run_search(write_config(tmp_path, demo_set)) == output
    with pytest.raises(UserError, match=r"other values of search\.alpha_schedule;"):
        run_search(write_config(tmp_path, demo_set), overrides={"alpha_schedule": "cosine"})


def test_folder_of_another_run_is_refused(finished, tmp_path, demo_set):
    shutil.copytree(finished, tmp_path / "out")
    with pytest.raises(UserError, match=r"holds another run, with other values of search\.seed"):
        run_search(write_config(tmp_path, demo_set), overrides={"seed": 5})


def test_folder_with_other_files_is_refused(tmp_path, demo_set):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no run"):
        run_search(write_config(tmp_path, demo_set))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"sparsity_wieght": 1},
            r"--set: unknown parameter 'sparsity_wieght' \(did you mean 'sparsity_weight'\?\)",
        ),
        (
            {"search.epoch": 1},
            r"--set: unknown parameter 'search.epoch' \(did you mean 'search.epochs'\?\)",
        ),
        ({"prune_threshold": 2}, "--set: search.prune_threshold"),
        (
            {"patch_size": [16, 16, 18]},
            r"axis 2 \(18\) is not a multiple of its strides' product 4; use 16 or 20",
        ),
    ],
)
def test_bad_overrides_leave_nothing_behind(tmp_path, demo_set, overrides, message):
    with pytest.raises(UserError, match=message):
        run_search(write_config(tmp_path, demo_set), overrides=overrides)
    assert not (tmp_path / "out").exists()


def test_unknown_key_of_a_run_configuration_is_named(tmp_path, demo_set):
    path = write_config(tmp_path, demo_set, epoch=3)
    with pytest.raises(UserError, match=r"search: unknown key 'epoch' \(did you mean 'epochs'\?\)"):
        run_search(path)


def test_two_dimensional_search_with_the_edges_of_the_unet(tmp_path, demo_set_2d, caplog):
    path = write_config(tmp_path, demo_set_2d, spatial_dims=2, epochs=2)
    with caplog.at_level("INFO"):
        output = run_search(path, overrides={"search_edges": False})
    assert "7 of 11 edges (fixed)" in caplog.text and "gates decided" not in caplog.text
    record = SearchRecord.load(output)
    assert not record.gates and len(record.fixed_edges) == 7  # 2 down, 3 handed on, 2 up
    assert len(Genotype.load(output / "genotype.json").edges) == 7


def test_loss_that_is_not_finite_is_one_clear_line(tmp_path, demo_set):
    path = write_config(tmp_path, demo_set, learning_rate=1e30)
    with pytest.raises(
        UserError,
        match=r"the loss is nan in epoch \d+; stopped\. The last good state stays: .*lower learning_rate",
    ):
        run_search(path)
