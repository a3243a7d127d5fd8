"""The commands that take what a report shows to other tools: nnU-Net, MONAI, ONNX, DICOM."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..runs.names import BEST_NAME
from .sources import Source


def export_commands(source: Source) -> list[tuple[str, str]]:
    """Where the best search and the best finished training can go, each with its command.

    Empty if nothing can be exported yet.
    """
    commands = []
    searches = [run for run in source.searches if run.record is not None]
    if searches:
        found = shlex.quote(str(max(searches, key=lambda run: run.final.get("default", -1)).folder))
        commands = [
            ("a genotype to train", f"uxnet export {found} -o genotype.json"),
            (
                "nnU-Net v2",
                f"uxnet export {found} --format nnunet --plans nnUNetPlans.json -o uxnetPlans.json",
            ),
        ]
    trained = [
        (training["result"]["default"], Path(training["provenance"]["folder"]) / BEST_NAME)
        for training in source.trainings
        if isinstance(training["result"].get("default"), (int, float))
    ]
    if trained:
        best = shlex.quote(str(max(trained, key=lambda each: each[0])[1]))
        commands += [
            ("MONAI bundle", f"uxnet export {best} --format monai-bundle -o bundle"),
            ("ONNX", f"uxnet export {best} --format onnx -o model.onnx"),
            ("PyTorch alone", f"uxnet export {best} --format torch-export -o model.pt2"),
            ("DICOM", f"uxnet predict -i SERIES --dicom-seg -o segmented --checkpoint {best}"),
            (
                "nnU-Net v2, with weights",
                f"uxnet export {best} --format nnunet --plans nnUNetPlans.json -o uxnetPlans.json",
            ),
        ]
    return commands
