"""The same scans, weights and windows for ``uxnet predict`` and for ``nnUNetv2_predict``; needs nnunetv2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from uxnet_eval.architectures.architecture import find_architecture
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.dataset.cases import Case, Dataset
from uxnet_eval.exports.frozen import export_onnx
from uxnet_eval.exports.nnunet import nnunet_plans, write_nnunet_plans
from uxnet_eval.networks.build import build_network
from uxnet_eval.networks.checkpoint import LoadedModel, load_model, save_model
from uxnet_eval.planning.nnunet_plans import NNUNetPlans, read_nnunet_plans

CONFIGURATION = "3d_fullres"
DEFAULT_PLANS, OWN_PLANS = "nnUNetPlans", "uxnetPlans"
PLANNED_CASES = 20
"""nnU-Net plans for at most so many cases of the data set."""


@dataclass(frozen=True)
class NNUNetFolders:
    """nnU-Net's folders, and what the benchmark puts beside them.

    ``scans`` holds a file for each channel of each scan, as both programs read them, ``references``
    the label maps.
    """

    folder: Path

    @property
    def scans(self) -> Path:
        return self.folder / "scans"

    @property
    def references(self) -> Path:
        return self.folder / "references"

    @property
    def name(self) -> str:
        return "Dataset001_Benchmark"

    @property
    def environment(self) -> dict[str, str]:
        names = ("raw", "preprocessed", "results")
        return {f"nnUNet_{name}": str(self.folder / name) for name in names}

    def model(self, plans_name: str) -> Path:
        """Where ``nnUNetv2_predict -p plans_name`` looks for weights."""
        return self.folder / "results" / self.name / f"nnUNetTrainer__{plans_name}__{CONFIGURATION}"


def add_case(case: Case, images: Path, labels: Path) -> None:
    """A file for each channel, with nnU-Net's number, and the label map."""
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    image = nib.load(case.image)
    channels = [image] if image.ndim == 3 else nib.four_to_three(image)
    for number, channel in enumerate(channels):
        nib.save(channel, images / f"{case.case_id}_{number:04d}.nii.gz")
    assert case.label is not None
    shutil.copyfile(case.label, labels / f"{case.case_id}.nii.gz")


def description(dataset: Dataset, num_cases: int) -> dict[str, Any]:
    """nnU-Net's ``dataset.json``."""
    return {
        "channel_names": {str(number): name for number, name in enumerate(dataset.channel_names)},
        "labels": dict(zip(dataset.class_names, dataset.label_values, strict=True)),
        "numTraining": num_cases,
        "file_ending": ".nii.gz",
    }


def plan_and_preprocess(folders: NNUNetFolders, *options: str) -> None:
    """Runs ``nnUNetv2_plan_and_preprocess`` on the raw folder."""
    code = (
        "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry\n"
        "if __name__ == '__main__': plan_and_preprocess_entry()"
    )
    subprocess.run(
        [sys.executable, "-c", code, "-d", "1", "-c", CONFIGURATION, *options],
        env={**os.environ, **folders.environment, "nnUNet_n_proc_DA": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def plan(folders: NNUNetFolders, dataset: Dataset) -> Path:
    """The plans that nnU-Net makes for the first cases of a data set."""
    raw, cases = folders.folder / "raw" / folders.name, dataset.cases[:PLANNED_CASES]
    for case in cases:
        add_case(case, raw / "imagesTr", raw / "labelsTr")
    (raw / "dataset.json").write_text(json.dumps(description(dataset, len(cases))))
    plan_and_preprocess(folders, "--no_pp", "-npfp", "1")
    return folders.folder / "preprocessed" / folders.name / f"{DEFAULT_PLANS}.json"


def untrained(
    path: Path, architecture: str, base_channels: float, plans: NNUNetPlans, dataset: Dataset
) -> Path:
    """A checkpoint of random weights, whose windows are those of the plans."""
    config = TrainConfig.parse(
        {
            "dataset": str(dataset.folder),
            "plan": plans.plan.model_dump(mode="json"),
            "network": {"architecture": architecture, "base_channels": base_channels},
        },
        "benchmark",
    )
    torch.manual_seed(0)
    found = find_architecture(architecture, config.plan.levels)
    network = build_network(
        found,
        config.plan,
        dataset.num_channels,
        dataset.num_classes,
        base_channels=base_channels,
        max_channels=config.network.max_channels,
    )
    save_model(
        path,
        weights=network.state_dict(),
        architecture=found,
        base_channels=base_channels,
        config=config,
        dataset=dataset,
        scores={},
    )
    return path


def with_windows_of(plans: NNUNetPlans, model: LoadedModel, dataset: Dataset, path: Path) -> Path:
    """A copy of a checkpoint that predicts in the windows of the plans; the weights stay."""
    patch = list(plans.plan.patch_size)
    config = TrainConfig.parse(
        {**model.config, "plan": {**model.config["plan"], "patch_size": patch}}, str(path)
    )
    save_model(
        path,
        weights=model.network.state_dict(),
        architecture=model.architecture,
        base_channels=model.base_channels,
        config=config,
        dataset=dataset,
        scores=model.scores,
    )
    return path


def check_windows(model: LoadedModel, plans: NNUNetPlans) -> None:
    """Raises unless a network sees the windows of the plans."""
    for name in ("patch_size", "spacing_mm", "strides"):
        found, expected = getattr(model.plan, name), getattr(plans.plan, name)
        if found != expected:
            raise ValueError(
                f"{model.path}: {name} is {found}, nnU-Net's {expected}: train by uxnet plan --like"
            )


def write_own_plans(model: LoadedModel, plans: NNUNetPlans, path: Path) -> dict[str, Any]:
    """The checkpoint's network as plans for nnU-Net."""
    assert model.architecture.genotype is not None
    values = nnunet_plans(
        model.architecture.genotype,
        plans,
        OWN_PLANS,
        base_channels=model.base_channels,
        max_channels=int(model.config["network"]["max_channels"]),
    )
    write_nnunet_plans(path, values)
    return values


def write_model(
    folder: Path, plans: Mapping[str, Any], dataset: Dataset, weights: Mapping[str, torch.Tensor] | None
) -> int:
    """A model folder as nnU-Net's training leaves it; the number of the network's parameters.

    Args:
        folder: of :meth:`NNUNetFolders.model`.
        plans: the content of the plans file.
        dataset: gives channels and classes.
        weights: of a network of this project; None: random ones.
    """
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    torch.manual_seed(0)
    architecture = plans["configurations"][CONFIGURATION]["architecture"]
    network = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        dataset.num_channels,
        dataset.num_classes,
        deep_supervision=False,
    )
    state = network.state_dict()
    if weights is not None:
        finest = f"decoder.seg_layers.{len(network.decoder.seg_layers) - 1}"
        for name in weights:
            state[name.replace("head", finest) if name.startswith("head.") else name] = weights[name]
        network.load_state_dict(state)
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(description(dataset, len(dataset.cases))))
    torch.save(
        {
            "network_weights": state,
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": CONFIGURATION},
            "inference_allowed_mirroring_axes": (0, 1, 2),
        },
        folder / "fold_0" / "checkpoint_final.pth",
    )
    return sum(x.numel() for x in network.parameters())


@dataclass(frozen=True)
class Contenders:
    """The files that the commands use, and the parameters of both networks."""

    checkpoint: Path
    onnx: Path
    model: LoadedModel
    own_parameters: int
    nnunet_parameters: int
    nnunet_is_trained: bool


def prepare(
    folders: NNUNetFolders,
    dataset: Dataset,
    scans: Sequence[Case],
    checkpoint: Path | None,
    nnunet_model: Path | None,
    architecture: str,
    base_channels: float,
    windows: Path | None = None,
) -> Contenders:
    """Puts scans, plans, weights and the exported network into nnU-Net's folders."""
    for case in scans:
        add_case(case, folders.scans, folders.references)
    path = windows or (plan(folders, dataset) if nnunet_model is None else nnunet_model / "plans.json")
    plans = read_nnunet_plans(path, CONFIGURATION)
    if checkpoint is None:
        checkpoint = untrained(folders.folder / "untrained.pt", architecture, base_channels, plans, dataset)
    model = load_model(checkpoint, "cpu", "float32")
    if windows is not None:
        checkpoint = with_windows_of(plans, model, dataset, folders.folder / "windows.pt")
        model = load_model(checkpoint, "cpu", "float32")
    check_windows(model, plans)
    export_onnx(model, folders.folder / "model.onnx")
    own = write_own_plans(model, plans, folders.folder / f"{OWN_PLANS}.json")
    own_parameters = write_model(folders.model(OWN_PLANS), own, dataset, model.network.state_dict())
    target = folders.model(DEFAULT_PLANS)
    nnunet_parameters = write_model(target, plans.values, dataset, None)
    if nnunet_model is not None:
        trained = nnunet_model / "fold_0" / "checkpoint_final.pth"
        shutil.copyfile(trained, target / "fold_0" / "checkpoint_final.pth")
    return Contenders(
        checkpoint,
        folders.folder / "model.onnx",
        model,
        own_parameters,
        nnunet_parameters,
        nnunet_model is not None,
    )


def mean_dice(predictions: Path, references: Path, dataset: Dataset) -> dict[str, float]:
    """The mean Dice of each foreground class over the scans, and their mean."""
    from uxnet_eval.evaluation.folders import evaluate_folders

    names = dict(zip(dataset.label_values[1:], dataset.class_names[1:], strict=True))
    frame = evaluate_folders(references, predictions, class_names=names).cases
    means = frame.groupby("class")["dice"].mean()
    return {**means.to_dict(), "mean": float(np.mean(list(means)))}
