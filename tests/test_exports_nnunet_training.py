"""nnU-Net itself plans, trains and predicts with exported plans; needs nnunetv2 (``make test-exports``).

nnU-Net's default trainer is used with fewer steps. Each test runs nnU-Net in processes of their own, as its commands do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from search_space import Genotype, presets
from search_space.grid import Node
from uxnet_eval import cli

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.exports,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("nnunetv2") is None, reason="nnunetv2 is missing: make test-exports"),
]

TRAIN = """
import json, sys, torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.run.run_training import get_trainer_from_args
torch.set_num_threads(1)
torch.manual_seed(0)
dataset, supervised, weights, epochs, steps = sys.argv[1:]
trainer = get_trainer_from_args(dataset, "3d_fullres", 0, "nnUNetTrainer", "uxnetPlans", device=torch.device("cpu"))
trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = int(epochs), int(steps), 1
trainer.enable_deep_supervision = bool(supervised)
if weights:
    trainer.initialize()
    load_pretrained_weights(trainer.network, weights)
trainer.run_training()
trainer.perform_actual_validation()
losses = trainer.logger.get_value("train_losses", None)
print("RESULT", json.dumps([float(loss) for loss in losses]))
"""

PAIRS = """
import json, sys, torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from nnunetv2.run.run_training import get_trainer_from_args
torch.set_num_threads(1)
trainer = get_trainer_from_args(sys.argv[1], "3d_fullres", 0, "nnUNetTrainer", "uxnetPlans", device=torch.device("cpu"))
network = trainer.build_network_architecture(
    trainer.plans_manager, trainer.configuration_manager, 1, trainer.label_manager.num_segmentation_heads, True
)
patch = trainer.configuration_manager.patch_size
shrink = DownsampleSegForDSTransform(ds_scales=trainer._get_deep_supervision_scales())
targets = shrink(segmentation=torch.randint(0, 4, (1, *patch)))["segmentation"]
outputs = network(torch.randn(1, 1, *patch))
loss = trainer._build_loss()(outputs, [target[None].float() for target in targets])
loss.backward()
pairs = [[list(output.shape[2:]), list(target.shape[1:])] for output, target in zip(outputs, targets, strict=True)]
print("RESULT", json.dumps([pairs, loss.item()]))
"""


@dataclass(frozen=True)
class NNUNet:
    """nnU-Net's three folders."""

    folder: Path

    def run(self, *command: str | Path) -> Any:
        """Runs Python code (``-c``) or a command of nnU-Net, and gives what it prints after RESULT."""
        first, *arguments = map(str, command)
        start = [sys.executable] if first == "-c" else [sys.executable, "-c", ENTRY, first]
        run = subprocess.run(
            [*start, *([first] if first == "-c" else []), *arguments],
            env=self.environment("1" if "plan" in first else "0"),  # planning wants one at least
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
        results = [line for line in run.stdout.splitlines() if line.startswith("RESULT ")]
        return json.loads(results[-1].removeprefix("RESULT ")) if results else None

    def environment(self, num_workers: str) -> Mapping[str, str]:
        folders = {f"nnUNet_{name}": str(self.folder / name) for name in ("raw", "preprocessed", "results")}
        return {
            **os.environ,
            **folders,
            "nnUNet_n_proc_DA": num_workers,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }

    def add(self, source: Path, name: str, num_cases: int) -> None:
        """Puts the first cases of a data set of one channel into nnU-Net's raw folder."""
        described, target = json.loads((source / "dataset.json").read_text()), self.folder / "raw" / name
        for part in ("imagesTr", "labelsTr"):
            (target / part).mkdir(parents=True)
        for case in described["training"][:num_cases]:
            case_id = Path(case["image"]).name.removesuffix(".nii.gz")
            shutil.copy(source / case["image"], target / "imagesTr" / f"{case_id}_0000.nii.gz")
            shutil.copy(source / case["label"], target / "labelsTr" / f"{case_id}.nii.gz")
        values = {
            "channel_names": described["modality"],
            "labels": {label: int(value) for value, label in described["labels"].items()},
            "numTraining": num_cases,
            "file_ending": ".nii.gz",
        }
        (target / "dataset.json").write_text(json.dumps(values))

    def export(self, source: Path, name: str, *arguments: str) -> Path:
        """``uxnet export --format nnunet`` into nnU-Net's folder; its weights, if there are any."""
        folder = self.folder / "preprocessed" / name
        result = CliRunner().invoke(
            cli.app,
            ["export", str(source), "--format", "nnunet", "--plans", str(folder / "nnUNetPlans.json"), "--force",
             "-o", str(folder / "uxnetPlans.json"), *arguments],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        return folder / "uxnetPlans.pth"


ENTRY = """
import sys
from importlib.metadata import entry_points
name = sys.argv.pop(1)
sys.argv[0] = name
(entry,) = entry_points(group="console_scripts", name=name)
if __name__ == "__main__":
    entry.load()()
"""


def pruned(levels: int, gone: set[Node], path: Path) -> Path:
    """A genotype without these nodes, whose finest layers are 3x3x1 and pseudo-3-D."""
    full = presets.get("full", levels)
    edges = [edge for edge in full.edges if not {edge.source, edge.target} & gone]
    operations = {
        layer: {0: "conv3x3x1", 1: "pseudo3d"}.get(layer.node.level, name) if layer.kind == "normal" else name
        for layer, name in full.operations.items()
    }
    Genotype.from_choices(levels, edges, operations).save(path)
    return path


@pytest.fixture(scope="module")
def nnunet(hippocampus: Path, tmp_path_factory: pytest.TempPathFactory) -> NNUNet:
    """12 hippocampi, planned and preprocessed by nnU-Net."""
    tool = NNUNet(tmp_path_factory.mktemp("nnunet"))
    tool.add(hippocampus, "Dataset004_Hippocampus", 12)
    tool.run("nnUNetv2_plan_and_preprocess", "-d", "4", "-c", "3d_fullres", "-np", "1", "-npfp", "1")
    return tool


def test_trains_and_predicts_a_pruned_genotype(nnunet: NNUNet, hippocampus: Path, tmp_path: Path) -> None:
    source = pruned(4, {Node(1, 2)}, tmp_path / "pruned.json")
    nnunet.export(source, "Dataset004_Hippocampus", "--base-channels", "4")
    losses = nnunet.run("-c", TRAIN, "4", "supervised", "", "4", "8")
    assert losses[-1] < losses[0] - 0.1
    images = tmp_path / "images"
    images.mkdir()
    scan = next((nnunet.folder / "raw/Dataset004_Hippocampus/imagesTr").iterdir())
    shutil.copy(scan, images)
    nnunet.run(
        *("nnUNetv2_predict", "-d", "4", "-c", "3d_fullres", "-f", "0", "-p", "uxnetPlans", "-device", "cpu"),
        *("-i", images, "-o", tmp_path / "labels", "-npp", "1", "-nps", "1"),
    )
    (label_map,) = (tmp_path / "labels").glob("*.nii.gz")
    image, label = nib.load(scan), nib.load(label_map)
    assert label.shape == image.shape and np.allclose(label.affine, image.affine)
    assert set(np.unique(label.dataobj)) <= {0, 1, 2}


def test_trains_without_deep_supervision(nnunet: NNUNet, tmp_path: Path) -> None:
    source = pruned(4, {Node(1, 2)}, tmp_path / "pruned.json")
    nnunet.export(source, "Dataset004_Hippocampus", "--base-channels", "4")
    losses = nnunet.run("-c", TRAIN, "4", "", "", "4", "8")
    assert losses[-1] < losses[0] - 0.1


def unmet(package: str, known: set[str]) -> list[str]:
    """What a package needs, directly or through others, and this environment lacks or has in another version."""
    if package in known:
        return []
    known.add(package)
    found = []
    for needed in map(Requirement, requires(package) or []):
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(needed.name)
        except PackageNotFoundError:
            found.append(f"{needed.name} of {package}")
            continue
        if not needed.specifier.contains(installed, prereleases=True):
            found.append(f"{needed} of {package}, here {installed}")
        found += unmet(needed.name.lower(), known)
    return found


def test_nnunet_and_nni_fit_into_one_environment() -> None:
    """Versions of all that both need. make test-exports takes a torchvision away that this PyTorch cannot load."""
    known: set[str] = set()
    left = [each for name in ("nnunetv2", "nni", "uxnet-search") for each in unmet(name, known)]
    assert set(left) <= {"torchvision of timm"}
    assert {"torch", "numpy", "scikit-image"} <= known


def test_weights_of_a_training_here_start_nnunet(nnunet: NNUNet, hippocampus: Path, tmp_path: Path) -> None:
    plans = nnunet.folder / "preprocessed" / "Dataset004_Hippocampus" / "nnUNetPlans.json"
    run_file, trained = tmp_path / "hippo.run.yml", tmp_path / "trained"
    few = tmp_path / "few"  # a training here scores its whole fold
    few.mkdir()
    for part in ("imagesTr", "labelsTr"):
        (few / part).symlink_to(hippocampus / part)
    described = json.loads((hippocampus / "dataset.json").read_text())
    described |= {"training": described["training"][:5], "numTraining": 5}
    (few / "dataset.json").write_text(json.dumps(described))
    invoke = CliRunner().invoke
    result = invoke(
        cli.app, ["plan", str(few), "--like", str(plans), "-o", str(run_file), "--memory-gib", "4"]
    )
    assert result.exit_code == 0, result.output
    overrides = [
        "epochs=1",
        "steps_per_epoch=2",
        "validation_cases=1",
        "base_channels=4",
        "precision=float32",
    ]
    result = invoke(
        cli.app,
        ["train", "--config", str(run_file), "--output", str(trained), *[x for o in overrides for x in ("--set", o)]],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    weights = nnunet.export(trained / "best.pt", "Dataset004_Hippocampus")
    assert len(nnunet.run("-c", TRAIN, "4", "supervised", weights, "1", "2")) == 1


def test_pairs_of_deep_supervision_of_an_anisotropic_plan(data_root: Path, tmp_path: Path) -> None:
    if not (data_root / "Task10_ACDC").is_dir():
        pytest.skip(f"needs the real data: {data_root} holds no Task10_ACDC")
    tool = NNUNet(tmp_path)
    tool.add(data_root / "Task10_ACDC", "Dataset010_ACDC", 5)
    tool.run("nnUNetv2_plan_and_preprocess", "-d", "10", "--no_pp", "-npfp", "1")
    plans = json.loads((tmp_path / "preprocessed/Dataset010_ACDC/nnUNetPlans.json").read_text())
    configuration = plans["configurations"]["3d_fullres"]
    strides = np.array(configuration["architecture"]["arch_kwargs"]["strides"])
    assert strides[1, 0] == 1 < strides[1, 1]  # z is pooled late
    levels = len(strides)
    source = pruned(levels, {Node(levels - 3, 2), Node(1, 1), Node(0, 1)}, tmp_path / "pruned.json")
    tool.export(source, "Dataset010_ACDC", "--base-channels", "2", "--max-channels", "8")
    pairs, loss = tool.run("-c", PAIRS, "10")
    patch = np.array(configuration["patch_size"])
    expected = [(patch // shrink).tolist() for shrink in strides.cumprod(0)[:-1]]
    assert pairs == [[size, size] for size in expected]
    assert np.isfinite(loss)
