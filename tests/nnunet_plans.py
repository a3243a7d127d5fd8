"""Plans as nnU-Net 2.8 writes them, for tests that have no nnU-Net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def configuration(**changes: Any) -> dict[str, Any]:
    """3d_fullres of ACDC: z is thick and comes first."""
    strides = changes.pop("strides", [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2]])
    return {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "batch_size": 2,
        "patch_size": [10, 256, 224],
        "spacing": [10.0, 1.5, 1.25],
        "normalization_schemes": ["ZScoreNormalization"],
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": len(strides),
                "features_per_stage": [32, 64, 128, 256],
                "strides": strides,
            },
            "_kw_requires_import": ["conv_op"],
        },
        **changes,
    }


def write_plans(folder: Path, labels: dict[str, Any] | None = None, **changes: Any) -> Path:
    """``nnUNetPlans.json`` and, if labels are given, ``dataset.json`` in ``folder``."""
    plans = {
        "dataset_name": "Dataset010_ACDC",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "2d": configuration(
                patch_size=[256, 224],
                spacing=[1.5, 1.25],
                strides=[[1, 1], [2, 2], [2, 1]],
                data_identifier="nnUNetPlans_2d",
            ),
            "3d_fullres": configuration(),
        },
        **changes,
    }
    path = folder / "nnUNetPlans.json"
    path.write_text(json.dumps(plans))
    if labels is not None:
        (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return path
