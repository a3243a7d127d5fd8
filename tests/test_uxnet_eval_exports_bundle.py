"""MONAI bundles: what they hold, and the label maps that MONAI makes with them; the latter needs ignite and fire."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from trained_networks import train
from typer.testing import CliRunner

from search_space import presets
from uxnet_eval import cli
from uxnet_eval.exports import bundle
from uxnet_eval.networks.checkpoint import load_model

NEEDS_BUNDLE = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("ignite", "fire")),
    reason="pytorch-ignite or fire is missing: make test-exports",
)

USE = """
import sys
sys.path[:] = [path for path in sys.path if path != sys.argv[2]]
for name in ("search_space", "uxnet_eval", "strategies", "nni"):
    sys.modules[name] = None  # importing it fails
sys.path.insert(0, ".")
import torch
torch.set_num_threads(1)
from monai.bundle import ConfigParser, run, verify_net_in_out
config = {"config_file": "configs/inference.json"}
run(dataset_dir=sys.argv[1], output_dir="../theirs", **config)
verify_net_in_out(net_id="network_def", meta_file="configs/metadata.json", **config)
parser = ConfigParser()
parser.read_config("configs/inference.json")
network = parser.get_parsed_content("network_def")  # as MONAI Label does, which would not notice a missing key
network.load_state_dict(torch.load("models/model.pt", weights_only=True), strict=True)
"""


IMPORT_ALL = """
import importlib, sys
for name in ("search_space", "uxnet_eval", "strategies", "nni"):
    sys.modules[name] = None  # importing it fails
sys.path.insert(0, ".")
for name in sys.argv[1:]:
    importlib.import_module(f"scripts.{name}")
"""


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


@pytest.fixture(scope="module", params=[3, 2])
def trained(
    request: pytest.FixtureRequest,
    demo_set: Path,
    demo_set_2d: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path]:
    """A checkpoint and its data set."""
    dataset = demo_set if request.param == 3 else demo_set_2d
    return train(dataset, tmp_path_factory.mktemp("trained"), request.param), dataset


@NEEDS_BUNDLE
@pytest.mark.exports
@pytest.mark.slow
def test_label_maps_are_those_of_predict(trained: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, dataset = trained
    bundle, images = tmp_path / "bundle", tmp_path / "images"
    result = run("export", checkpoint, "--format", "monai-bundle", "-o", bundle)
    assert result.exit_code == 0, result.output
    images.mkdir()
    for path in sorted((dataset / "imagesTr").iterdir())[:2]:
        turned = nib.load(path)
        if turned.ndim == 3 and checkpoint.parent.name == "trained3":  # another orientation than RAS
            turned = turned.as_reoriented(np.array([[1, -1], [0, 1], [2, 1]]))
        nib.save(turned, images / path.name)
    result = run("predict", "-i", images, "-o", tmp_path / "ours", "--checkpoint", checkpoint)
    assert result.exit_code == 0, result.output
    root = str(Path(cli.__file__).parents[1])
    used = subprocess.run(
        [sys.executable, "-c", USE, str(images), root],
        cwd=bundle,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert used.returncode == 0, used.stderr[-3000:]
    names = sorted(path.name for path in images.iterdir())
    for name in names:
        ours, theirs = nib.load(tmp_path / "ours" / name), nib.load(tmp_path / "theirs" / name)
        assert len(np.unique(ours.dataobj)) > 1
        assert np.array_equal(np.squeeze(ours.dataobj), np.squeeze(theirs.dataobj))
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)


def test_files_of_a_bundle(trained: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, _ = trained
    bundle = tmp_path / "bundle"
    assert run("export", checkpoint, "--format", "monai-bundle", "-o", bundle).exit_code == 0
    model = load_model(checkpoint, "cpu")
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    expected = {"LICENSE", "docs/README.md", "models/model.pt", "scripts/search_space/network.py"}
    assert expected | {"configs/inference.json", "configs/metadata.json"} <= files
    assert not any("nni" in Path(name).name and "nnunet" not in name for name in files)
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(weights[name], value) for name, value in model.network.state_dict().items())
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    assert config["inferer"]["roi_size"] == list(model.plan.patch_size)
    assert config["network_def"]["features_per_stage"][0] == 3
    described = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]
    assert described["outputs"]["pred"]["num_channels"] == model.dataset.num_classes


def test_scripts_are_the_source_of_this_project(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Byte for byte; but for lines of imports, which name the bundle's own modules."""
    scripts, root = tmp_path / "bundle" / "scripts", Path(cli.__file__).parents[1]
    result = run("export", trained[0], "--format", "monai-bundle", "-o", scripts.parent)
    assert result.exit_code == 0, result.output
    copied = {path.relative_to(scripts) for path in scripts.rglob("*.py")}
    package = {path.relative_to(root) for path in (root / "search_space").rglob("*.py")}
    assert {path for path in copied if path.parts[0] == "search_space"} == package - {
        Path("search_space", name) for name in bundle.LEFT_OUT
    }
    for path in package & copied:
        assert (scripts / path).read_bytes() == (root / path).read_bytes()
    assert {path.name for path in copied if len(path.parts) == 1} == {"__init__.py", *bundle.COPIES}
    for name, (module, changes) in bundle.COPIES.items():
        pairs = zip(
            (scripts / name).read_text().splitlines(),
            Path(str(module.__file__)).read_text().splitlines(),
            strict=True,
        )
        changed = [(there, here) for there, here in pairs if there != here]
        assert bool(changed) == bool(changes)
        assert all(line.startswith("from .") for line, _ in changed)
        assert all(
            here.startswith("from ") and there.split(" import ")[1] == here.split(" import ")[1]
            for there, here in changed
        )
    imported = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *(Path(name).stem for name in bundle.COPIES)],
        cwd=scripts.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert imported.returncode == 0, imported.stderr[-3000:]


def test_faults(trained: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, _ = trained
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "mine.txt").write_text("mine")
    result = run("export", checkpoint, "--format", "monai-bundle", "-o", bundle)
    assert "exists and is not empty" in str(result.exception)
    assert [path.name for path in bundle.iterdir()] == ["mine.txt"]
    genotype = tmp_path / "genotype.json"
    presets.get("unet", 3).save(genotype)
    result = run("export", genotype, "--format", "monai-bundle", "-o", tmp_path / "other")
    assert "has no weights" in str(result.exception) and not (tmp_path / "other").exists()
