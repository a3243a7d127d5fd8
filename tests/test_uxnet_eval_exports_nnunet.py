"""Plans for nnU-Net from genotypes and trained networks, and plans here from nnU-Net's; without nnU-Net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from nnunet_plans import configuration, write_plans
from test_uxnet_eval_prediction_command import write_checkpoint
from typer.testing import CliRunner

from search_space import Genotype, presets
from search_space.errors import UserError
from search_space.nnunet_network import UXNetForNNUNet
from uxnet_eval import cli
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.networks.checkpoint import load_model
from uxnet_eval.planning.nnunet_plans import read_nnunet_plans


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def genotype(folder: Path, levels: int = 4, **provenance: Any) -> Path:
    unet = presets.get("unet", levels)
    path = folder / "genotype.json"
    Genotype.from_choices(levels, unet.edges, unet.operations, provenance).save(path)
    return path


def test_axes_and_plan_of_axial_scans(tmp_path: Path) -> None:
    found = read_nnunet_plans(write_plans(tmp_path), "3d_fullres")
    assert found.axes == (2, 1, 0)  # R is x, the last of z, y, x
    assert found.plan.patch_size == (224, 256, 10)
    assert found.plan.spacing_mm == (1.25, 1.5, 10.0)
    assert found.plan.strides == ((2, 2, 1), (2, 2, 1), (2, 2, 2))
    flat = read_nnunet_plans(tmp_path / "nnUNetPlans.json", "2d")
    assert flat.axes == (1, 0)
    assert (flat.plan.patch_size, flat.plan.strides) == ((224, 256), ((2, 2), (1, 2)))


def test_axes_follow_transpose_forward(tmp_path: Path) -> None:
    """A file whose x axis is the thick one: nnU-Net has x, z, y."""
    path = write_plans(tmp_path, transpose_forward=[2, 0, 1], transpose_backward=[1, 2, 0])
    found = read_nnunet_plans(path, "3d_fullres")
    assert found.axes == (0, 2, 1)
    assert found.plan.spacing_mm == (10.0, 1.25, 1.5)
    assert read_nnunet_plans(path, "2d").axes == (1, 0)  # slices across x, of y (last) and z


def test_pictures_keep_rows_and_columns(tmp_path: Path) -> None:
    path = write_plans(tmp_path, image_reader_writer="NaturalImage2DIO")
    assert read_nnunet_plans(path, "2d").axes == (0, 1)


def test_inherited_configuration(tmp_path: Path) -> None:
    configurations = {"3d_fullres": configuration(), "big": {"inherits_from": "3d_fullres", "batch_size": 5}}
    found = read_nnunet_plans(write_plans(tmp_path, configurations=configurations), "big")
    assert (found.plan.batch_size, found.plan.patch_size) == (5, (224, 256, 10))
    assert found.configuration["data_identifier"] == "nnUNetPlans_3d_fullres"


def test_exported_plans_build_the_network(tmp_path: Path) -> None:
    plans, output = write_plans(tmp_path), tmp_path / "uxnetPlans.json"
    source = genotype(tmp_path, dataset="somewhere", spatial_dims=3)
    result = run(
        "export", source, "--format", "nnunet", "--plans", plans, "-o", output, "--base-channels", "4.5", "--max-channels", 20
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "nnUNetv2_train Dataset010_ACDC 3d_fullres 0 -p uxnetPlans\n" in result.stdout
    values, before = json.loads(output.read_text()), json.loads(plans.read_text())
    assert values["plans_name"] == "uxnetPlans"
    assert list(values["configurations"]) == ["3d_fullres"]
    written = values["configurations"]["3d_fullres"]
    assert written["data_identifier"] == "nnUNetPlans_3d_fullres"
    architecture = written.pop("architecture")
    expected = before["configurations"]["3d_fullres"]
    expected.pop("architecture")
    assert written == expected
    assert architecture["network_class_name"] == "search_space.nnunet_network.UXNetForNNUNet"
    assert architecture["_kw_requires_import"] == []
    kwargs = architecture["arch_kwargs"]
    assert kwargs["features_per_stage"] == [5, 9, 18, 20]
    assert kwargs["strides"] == [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2]]
    assert Genotype.from_dict(kwargs["genotype"]) == Genotype.load(source)
    network = UXNetForNNUNet(input_channels=1, num_classes=4, deep_supervision=True, **kwargs)
    shapes = [tuple(x.shape[2:]) for x in network(torch.zeros(1, 1, 4, 16, 24))]
    assert shapes == [(4, 16, 24), (4, 8, 12), (4, 4, 6)]


def test_weights_of_a_training_start_nnunet(demo_set: Path, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pt", read_dataset(demo_set))
    plans = write_plans(
        tmp_path, configurations={"3d_fullres": configuration(strides=[[1, 1, 1], [2, 2, 2]])}
    )
    output = tmp_path / "uxnetPlans.json"
    arguments = ("export", checkpoint, "--format", "nnunet", "--plans", plans, "-o", output)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert f"-p uxnetPlans -pretrained_weights {tmp_path / 'uxnetPlans.pth'}" in result.stdout
    kwargs = json.loads(output.read_text())["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert kwargs["features_per_stage"] == [3, 6]  # the training's
    model = load_model(checkpoint, "cpu")
    weights = torch.load(tmp_path / "uxnetPlans.pth", weights_only=True)["network_weights"]
    network = UXNetForNNUNet(model.dataset.num_channels, 2, **kwargs)
    own = network.state_dict()
    assert set(own) - set(weights) == {"decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"}
    trained = model.network.state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in weights.items())
    result = run(*arguments, "--base-channels", "4", "--force")
    assert "does not fit the plans; export with the width of the training" in str(result.exception)


def test_plan_like(demo_set: Path, tmp_path: Path) -> None:
    plans, output = write_plans(tmp_path), tmp_path / "like.run.yml"
    result = run("plan", demo_set, "--like", plans, "-o", output, "--memory-gib", "8")
    assert result.exit_code == 0, result.output
    plan = yaml.safe_load(output.read_text())["plan"]
    assert plan["patch_size"] == [224, 256, 10]
    assert plan["spacing_mm"] == [1.25, 1.5, 10.0]
    assert plan["strides"] == [[2, 2, 1], [2, 2, 1], [2, 2, 2]]
    assert (plan["batch_size"], plan["normalization"]) == (2, "zscore")
    result = run("plan", demo_set, "--like", plans, "--configuration", "2d", "-o", tmp_path / "b.run.yml")
    assert "configuration 2d is 2-D" in str(result.exception) and "is 3-D" in str(result.exception)


def test_faults(tmp_path: Path) -> None:
    plans, output = write_plans(tmp_path), tmp_path / "uxnetPlans.json"
    source = genotype(tmp_path)
    cascade = {**configuration(), "previous_stage": "3d_lowres"}
    for changes, arguments, message in (
        ({}, ("--configuration", "3d_ful"), "no configuration '3d_ful' (did you mean '3d_fullres'?)"),
        ({}, ("--configuration", "2d"), "configuration 2d has 3 levels, the genotype 4; search on these plans: uxnet plan"),
        ({"configurations": {"3d_fullres": cascade}}, (), "part of a cascade (previous_stage: 3d_lowres)"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, (), "trains on regions (whole)"),
        ({"configurations": {"3d_fullres": {}}}, (), "configuration 3d_fullres lacks 'architecture'"),
        ({"configurations": {"3d_fullres": configuration(strides=[[1] * 3, [3] * 3])}}, (), "expected 1 or 2 along each axis"),
        ({}, ("-o", tmp_path / "plans.txt"), "end in .json"),
        ({}, ("--prune-threshold", "0.5"), "belongs to a search"),
    ):  # fmt: skip
        (tmp_path / "dataset.json").unlink(missing_ok=True)
        write_plans(tmp_path, **changes)
        result = run("export", source, "--format", "nnunet", "--plans", plans, "-o", output, *arguments)
        assert isinstance(result.exception, UserError), (message, result.output)
        assert message in str(result.exception) and "\n" not in str(result.exception)
    (tmp_path / "dataset.json").unlink(missing_ok=True)
    write_plans(tmp_path)
    flat = genotype(tmp_path, spatial_dims=2)
    result = run("export", flat, "--format", "nnunet", "--plans", plans, "-o", output)
    assert "is 3-D, the genotype was searched in 2-D" in str(result.exception)
    result = run("export", flat, "--format", "nnunet", "-o", output)
    assert "needs --plans" in str(result.exception)
    result = run("export", "runs/x", "--plans", plans, "-o", output)
    assert "--plans: belongs to --format nnunet, not to genotype" in str(result.exception)
    result = run("export", tmp_path / "no.json", "--format", "nnunet", "--plans", plans, "-o", output)
    assert "cannot be read" in str(result.exception)
    plans.write_text("{")
    result = run("export", flat, "--format", "nnunet", "--plans", plans, "-o", output)
    assert "not JSON" in str(result.exception)
    plans.write_text("{}")
    result = run("export", flat, "--format", "nnunet", "--plans", plans, "-o", output)
    assert "not a plans file" in str(result.exception)
    assert not output.exists()  # nothing half-written
