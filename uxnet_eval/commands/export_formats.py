"""What ``uxnet export`` writes for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from search_space.errors import UserError

from .console import refuse_existing


class Format(str, Enum):
    """What ``--format`` may be."""

    GENOTYPE, NNUNET, MONAI_BUNDLE = "genotype", "nnunet", "monai-bundle"
    ONNX, TORCH_EXPORT = "onnx", "torch-export"


def write_nnunet(
    source: str,
    output: Path,
    plans: Path | None,
    configuration: str | None,
    base_channels: float | None,
    max_channels: int | None,
    search: Mapping[str, Any],
) -> None:
    """Plans for nnU-Net, and initial weights if the network is trained.

    ``search`` chooses among genotypes.
    """
    if plans is None:
        raise UserError("--format nnunet: needs --plans, nnUNetPlans.json in nnU-Net's preprocessed folder")
    if output.suffix != ".json":
        raise UserError(
            f"{output}: plans are called as nnU-Net's -p and end in .json; such as uxnetPlans.json"
        )
    from ..exports.nnunet import next_steps, nnunet_plans, nnunet_weights, write_nnunet_plans
    from ..exports.source import export_source
    from ..planning.nnunet_plans import read_nnunet_plans

    nnunet = read_nnunet_plans(plans, configuration or "3d_fullres")
    found = export_source(source, **search)
    values = nnunet_plans(
        found.genotype,
        nnunet,
        output.stem,
        base_channels=found.base_channels if base_channels is None else base_channels,
        max_channels=found.max_channels if max_channels is None else max_channels,
    )
    weights = None
    if found.model is not None:
        import torch

        from search_space.replacing import replacing

        weights = output.with_suffix(".pth")
        state, num_channels = found.model.network.state_dict(), found.model.dataset.num_channels
        start = nnunet_weights(state, values, nnunet.name, num_channels)
        with replacing(weights) as part:
            torch.save(start, part)
    write_nnunet_plans(output, values)
    typer.echo(f"wrote {output}" + ("" if weights is None else f" and {weights}"))
    for line in next_steps(nnunet, output, weights):
        typer.echo(line)


def write_frozen(source: str, output: Path, format: Format, force: bool) -> None:
    """A trained network as ONNX or as PyTorch's exported program, with its description."""
    from ..exports.frozen import export_onnx, export_torch
    from ..networks.checkpoint import load_model
    from ..networks.pipeline import pipeline_path

    beside = pipeline_path(output)
    refuse_existing(beside, force)
    model = load_model(source, "cpu", "float32")
    write = export_onnx if format is Format.ONNX else export_torch
    difference = write(model, output)
    typer.echo(f"wrote {output} and {beside}; its logits differ from PyTorch's by at most {difference:.1e}")
    typer.echo(f"next: uxnet predict -i IMAGES -o LABELS --checkpoint {output}")


def write_bundle(source: str, output: Path) -> None:
    """A trained network as a MONAI bundle."""
    from ..exports import bundle
    from ..exports.source import export_source

    found = export_source(source)
    if found.model is None:
        raise UserError(f"{source}: has no weights; give what uxnet train wrote (best.pt)")
    bundle.write_bundle(found.model, output)
    typer.echo(f"wrote {output}")
    command = "python -m monai.bundle run --config_file configs/inference.json"
    typer.echo(f"next: cd {output} && {command} --dataset_dir IMAGES --output_dir LABELS")
