"""ONNX and PyTorch's exported programs, and predicting with them, against PyTorch; some need onnxruntime."""

from __future__ import annotations

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from trained_networks import train
from typer.testing import CliRunner

from search_space.errors import UserError
from uxnet_eval import cli
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.exports import frozen
from uxnet_eval.networks.checkpoint import load_model
from uxnet_eval.networks.exported import open_model
from uxnet_eval.networks.pipeline import load_pipeline

NEEDS_ONNX = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript or onnxruntime is missing: make test-exports",
)


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def checkpoints(
    demo_set: Path, demo_set_2d: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        3: train(demo_set, folder, 3),
        2: train(demo_set_2d, folder, 2),
    }


@pytest.mark.parametrize("dims", [3, 2])
@pytest.mark.parametrize(
    "name",
    ["model.pt2", pytest.param("model.onnx", marks=[NEEDS_ONNX, pytest.mark.exports, pytest.mark.slow])],
)
def test_predicts_as_pytorch_does(
    dims: int,
    name: str,
    checkpoints: dict[int, Path],
    demo_set: Path,
    demo_set_2d: Path,
    tmp_path: Path,
) -> None:
    output, data = tmp_path / name, demo_set if dims == 3 else demo_set_2d
    kind = "onnx" if name.endswith(".onnx") else "torch-export"
    result = run("export", checkpoints[dims], "--format", kind, "-o", output)
    assert result.exit_code == 0, result.output
    model = load_model(checkpoints[dims], "cpu", "float32")
    exported = open_model(output)
    for batch in (1, 3):
        windows = torch.randn(batch, model.dataset.num_channels, *model.plan.patch_size)
        with torch.inference_mode():
            torch.testing.assert_close(exported.network(windows), model.network(windows), rtol=0, atol=1e-4)
    assert (exported.plan, exported.dataset) == (model.plan, model.dataset)
    assert exported.overlap == model.overlap
    arguments = (
        "-i",
        data,
        "--training",
        "--case",
        read_dataset(data).cases[0].case_id,
        "--precision",
        "float32",
    )
    for place, checkpoint in (("torch", checkpoints[dims]), ("exported", output)):
        result = run("predict", *arguments, "-o", tmp_path / place, "--checkpoint", checkpoint)
        assert result.exit_code == 0, result.output
    (expected,), (found,) = ((tmp_path / place).glob("*.nii.gz") for place in ("torch", "exported"))
    labels = [np.asarray(nib.load(path).dataobj) for path in (expected, found)]
    assert len(np.unique(labels[0])) > 1
    assert (labels[0] == labels[1]).mean() >= 0.9999
    if kind == "onnx":
        import onnx

        graph = onnx.load(output)
        kinds = {node.op_type for node in graph.graph.node}
        assert "InstanceNormalization" in kinds and "BatchNormalization" not in kinds
        assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 18)]


def test_description_holds_the_whole_pipeline(checkpoints: dict[int, Path], tmp_path: Path) -> None:
    output = tmp_path / "model.pt2"
    assert run("export", checkpoints[3], "--format", "torch-export", "-o", output).exit_code == 0
    values, model = json.loads((tmp_path / "model.json").read_text()), load_model(checkpoints[3], "cpu")
    assert values["network"]["input_shape"] == ["batch", model.dataset.num_channels, 16, 24, 16]
    assert values["orientation"] == "RAS" and values["overlap"] == 0.5
    assert values["plan"]["spacing_mm"] == [1.2, 1.0, 1.5]
    assert values["plan"]["normalization"] == "zscore"
    assert values["class_names"] == list(model.dataset.class_names)
    assert len(values["steps"]) == 7


def test_faults(checkpoints: dict[int, Path], tmp_path: Path) -> None:
    output, beside = tmp_path / "model.pt2", tmp_path / "model.json"
    assert run("export", checkpoints[3], "--format", "torch-export", "-o", output).exit_code == 0
    result = run("export", checkpoints[3], "--format", "torch-export", "-o", output)
    assert "exists already" in str(result.exception)
    result = run("export", checkpoints[3], "--format", "torch-export", "-o", tmp_path / "other.json")
    assert "ends in .pt2" in str(result.exception)
    with pytest.raises(UserError, match="leave --precision bfloat16 out"):
        open_model(output, "cpu", "bfloat16")
    good = beside.read_text()
    beside.write_text("{")
    with pytest.raises(UserError, match=r"model\.json: not JSON"):
        open_model(output)
    beside.write_text("{}")
    with pytest.raises(UserError, match=r"does not describe an exported network; export model\.pt2 again"):
        open_model(output)
    beside.write_text(json.dumps({**json.loads(good), "version": 2}))
    with pytest.raises(UserError, match="version 2, this program reads 1"):
        open_model(output)
    beside.write_text(good)
    shutil.copy(output, tmp_path / "copy.pt2")
    with pytest.raises(UserError, match=r"copy\.json: cannot be read .*, but copy\.pt2 needs it"):
        open_model(tmp_path / "copy.pt2")
    with output.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match=r"is of another network than model\.pt2"):
        open_model(output)
    with pytest.raises(UserError, match=r"none\.onnx: no such file"):
        open_model(tmp_path / "none.onnx")


@pytest.mark.parametrize("fault", ["a logit", "all classes"])
def test_a_network_that_computes_something_else_is_not_written(
    fault: str, checkpoints: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(checkpoints[3], "cpu", "float32")
    if fault == "all classes":
        model.network.head.weight.zero_()
        model.network.head.bias.zero_()  # all logits are 0, so that the first class is taken

    def other(windows: torch.Tensor) -> torch.Tensor:
        logits = model.network(windows)
        if fault == "a logit":
            logits[0, 0, 3, 3, 3] += 0.1
        else:
            logits[:, 1] += 1e-5
        return logits

    monkeypatch.setattr(frozen, "open_model", lambda *_: SimpleNamespace(network=other))
    with pytest.raises(UserError) as error:
        frozen.export_torch(model, tmp_path / "model.pt2")
    difference, share = ("1.0e-01", "(9|100)") if fault == "a logit" else ("1.0e-05", "0.0000%")
    found = rf"model\.pt2: differs from PyTorch by {difference} in a logit.*; {share}.* of the voxels have its class"
    assert re.search(found, str(error.value)) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@NEEDS_ONNX
@pytest.mark.exports
def test_damaged_onnx(checkpoints: dict[int, Path], tmp_path: Path) -> None:
    output = tmp_path / "model.pt2"
    assert run("export", checkpoints[3], "--format", "torch-export", "-o", output).exit_code == 0
    damaged = tmp_path / "model.onnx"
    damaged.write_bytes(b"no protobuf")
    values = json.loads((tmp_path / "model.json").read_text())
    from uxnet_eval.networks.pipeline import file_sha256

    values["network"]["sha256"] = file_sha256(damaged)
    (tmp_path / "model.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="onnxruntime cannot read it"):
        open_model(damaged)
    assert load_pipeline(damaged).network.file == "model.pt2"


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from uxnet_eval.extras import extra

    with pytest.raises(
        UserError, match=r"model\.onnx: needs the package 'no_such_thing'; .*'uxnet-search\[onnx\]'"
    ):
        extra("no_such_thing", "onnx", "model.onnx")
