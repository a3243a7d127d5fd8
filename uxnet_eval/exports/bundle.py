"""A trained network as a MONAI bundle, which needs neither this project nor NNI.

The bundle holds copies of the modules that it needs, under ``scripts/``.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import search_space
from search_space import UXNet
from search_space.errors import UserError
from search_space.replacing import replacing

from ..dataset import image_file, itk_image
from ..networks.checkpoint import LoadedModel
from ..preprocessing import case_grid
from ..runs import control_groups, memory
from . import bundle_network, bundle_transforms
from .bundle_texts import LICENSE, readme

LEFT_OUT = ("space.py", "nni_first.py")
"""Modules of ``search_space`` that need NNI and are left out."""

COPIES = {
    "network.py": (bundle_network, {"from search_space.": "from .search_space."}),
    "case_grid.py": (
        case_grid,
        {"from search_space.": "from .search_space.", "from ..runs.memory": "from .memory"},
    ),
    "image_file.py": (
        image_file,
        {"from search_space.": "from .search_space.", "from ..runs.memory": "from .memory"},
    ),
    "itk_image.py": (
        itk_image,
        {"from search_space.": "from .search_space.", "from ..runs.memory": "from .memory"},
    ),
    "memory.py": (memory, {"from search_space.": "from .search_space."}),
    "control_groups.py": (control_groups, {}),
    "transforms.py": (
        bundle_transforms,
        {
            "from search_space.": "from .search_space.",
            "from ..dataset.image_file": "from .image_file",
            "from ..preprocessing.case_grid": "from .case_grid",
        },
    ),
}
"""Modules of the bundle by name: what they are copies of, and how their imports are called
there."""


def write_bundle(model: LoadedModel, output: Path) -> None:
    """Writes a bundle into the folder ``output``, whole or not at all.

    Args:
        model: a trained network of the grid.
        output: a folder that is absent or empty; the one that holds it exists.

    Raises:
        UserError: if the folder holds something, or the network is a baseline.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: exists and is not empty; a bundle wants a folder of its own")
    if not isinstance(model.network, UXNet):
        raise UserError(
            f"{model.path}: '{model.architecture.name}' is a baseline; give a network of the grid"
        )
    with replacing(output) as folder:
        for name in ("configs", "models", "docs", "scripts"):
            (folder / name).mkdir(parents=True)
        _write_json(folder / "configs" / "inference.json", inference_config(model))
        _write_json(folder / "configs" / "metadata.json", metadata(model))
        torch.save(
            {name: value.detach().cpu().clone() for name, value in model.network.state_dict().items()},
            folder / "models" / "model.pt",
        )
        (folder / "docs" / "README.md").write_text(readme(model), encoding="utf-8")
        (folder / "LICENSE").write_text(LICENSE, encoding="utf-8")
        _copy_scripts(folder / "scripts")


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=4) + "\n", encoding="utf-8")


def _copy_scripts(folder: Path) -> None:
    source = Path(search_space.__file__).parent
    shutil.copytree(
        source, folder / "search_space", ignore=shutil.ignore_patterns("__pycache__", *LEFT_OUT, "*.pyc")
    )
    (folder / "__init__.py").write_text('"""Network, preprocessing and postprocessing of this bundle."""\n')
    for name, (module, changes) in COPIES.items():
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        for before, after in changes.items():
            assert before in text, f"{name}: has no '{before}'"
            text = text.replace(before, after)
        assert "from .." not in text, f"{name}: imports from outside of the bundle"
        (folder / name).write_text(text, encoding="utf-8")


def inference_config(model: LoadedModel) -> dict[str, Any]:
    """The content of ``configs/inference.json``."""
    plan, dataset = model.plan, model.dataset
    assert isinstance(model.network, UXNet) and model.architecture.genotype is not None
    config = model.network.config
    spacing_mm = list(plan.spacing_mm)
    return {
        "imports": ["$import os", "$import torch", "$from scripts.transforms import list_scans"],
        "bundle_root": ".",
        "ckpt_dir": "$@bundle_root + '/models'",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/labels'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": "scripts.network.build_network",
            "genotype": {**model.architecture.genotype.to_dict(), "provenance": {}},
            "in_channels": dataset.num_channels,
            "num_classes": dataset.num_classes,
            "strides": [list(stride) for stride in plan.strides],
            "features_per_stage": [config.channels(level) for level in range(config.levels)],
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "scripts.transforms.LoadScand",
                    "keys": ["image"],
                    "spatial_dims": plan.spatial_dims,
                    "num_channels": dataset.num_channels,
                },
                {"_target_": "scripts.transforms.OrientScand", "keys": ["image"], "spacing_mm": spacing_mm},
                _normalization(model),
                {"_target_": "scripts.transforms.ResampleScand", "keys": ["image"], "spacing_mm": spacing_mm},
            ],
        },
        "datalist": f"$list_scans(@dataset_dir, {plan.spatial_dims})",
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False, "num_workers": 0,
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(plan.patch_size),
            "sw_batch_size": 1,
            "overlap": model.overlap,
            "mode": "gaussian",
            "cval": plan.padding_value,
            "sw_device": "@device",
            "device": "$torch.device('cpu')",
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "scripts.transforms.RestoreLabeld",
                    "keys": ["pred"],
                    "spacing_mm": spacing_mm,
                    "label_values": list(dataset.label_values),
                },
                _saver(model),
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@ckpt_dir + '/model.pt'",
                "load_dict": {"model": "@network"},
                "strict": True,
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }  # fmt: skip


def _normalization(model: LoadedModel) -> dict[str, Any]:
    """The plan's normalisation as MONAI's transform.

    See :mod:`uxnet_eval.preprocessing.transforms`.
    """
    given = model.plan.intensity
    if given is None:
        return {"_target_": "NormalizeIntensityd", "keys": ["image"], "nonzero": True, "channel_wise": True}
    lower, upper, mean, std = (given[name] for name in ("lower", "upper", "mean", "std"))
    return {
        "_target_": "ScaleIntensityRanged", "keys": ["image"], "a_min": lower, "a_max": upper,
        "b_min": (lower - mean) / std, "b_max": (upper - mean) / std, "clip": True,
    }  # fmt: skip


def _saver(model: LoadedModel) -> dict[str, Any]:
    common = {"keys": ["pred"], "output_dir": "@output_dir"}
    if model.plan.spatial_dims == 2:
        return {"_target_": "scripts.transforms.SaveLabeld", **common}
    return {
        "_target_": "SaveImaged",
        **common,
        "output_postfix": "",
        "output_ext": ".nii.gz",
        "output_dtype": "$None",
        "resample": False,
        "separate_folder": False,
    }


def metadata(model: LoadedModel) -> dict[str, Any]:
    """The content of ``configs/metadata.json``."""
    plan, dataset = model.plan, model.dataset
    shape = list(plan.patch_size)
    channels = {str(index): name for index, name in enumerate(dataset.channel_names)}
    classes = {str(index): name for index, name in enumerate(dataset.class_names)}
    common = {"format": "segmentation", "dtype": "float32", "spatial_shape": shape, "is_patch_data": True}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": "1.0.0",
        "changelog": {"1.0.0": "exported from uxnet-search"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {
            "nibabel": version("nibabel"),
            "psutil": version("psutil"),
            "pydantic": version("pydantic"),
            "pytorch-ignite": "0.5.5",
            "fire": "0.7.1",
        },
        "name": f"{dataset.name} {model.architecture.name}",
        "task": f"Segmentation of {', '.join(dataset.class_names[1:])}",
        "description": f"A network that architecture search found, trained on {dataset.name}.",
        "authors": "its trainers",
        "copyright": "see LICENSE",
        "data_source": dataset.name,
        "data_type": "nibabel",
        "image_classes": f"{dataset.num_channels} channel(s): {', '.join(dataset.channel_names)}",
        "label_classes": dict(zip(dataset.class_names, dataset.label_values, strict=True)),
        "pred_classes": f"{dataset.num_classes} classes: {', '.join(dataset.class_names)}",
        "eval_metrics": dict(model.scores),
        "intended_use": "Research. Not cleared for use on patients.",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    **common,
                    "format": "magnitude",
                    "modality": ", ".join(dataset.channel_names),
                    "num_channels": dataset.num_channels,
                    "value_range": [-10, 10],
                    "channel_def": channels,
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    **common,
                    "num_channels": dataset.num_classes,
                    "value_range": [-100, 100],
                    "channel_def": classes,
                }
            },
        },
    }
