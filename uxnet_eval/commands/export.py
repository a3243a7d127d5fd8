"""``uxnet export``: the genotype of a search, or a network in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from search_space.errors import UserError

from .console import refuse_existing
from .export_formats import Format, write_bundle, write_frozen, write_nnunet

OPTIONS = {
    "prune_threshold": (Format.GENOTYPE, Format.NNUNET),
    "trial": (Format.GENOTYPE, Format.NNUNET),
    "max_multiply_adds": (Format.GENOTYPE, Format.NNUNET),
    "max_parameters": (Format.GENOTYPE, Format.NNUNET),
    "max_latency_ms": (Format.GENOTYPE, Format.NNUNET),
    "plans": (Format.NNUNET,),
    "configuration": (Format.NNUNET,),
    "base_channels": (Format.NNUNET,),
    "max_channels": (Format.NNUNET,),
}
"""The formats that each option belongs to."""


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Id of an NNI experiment, or the output folder of uxnet search. For other formats also a "
            "genotype (.json) or a trained network (best.pt).",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="What to write; a genotype is JSON.")],
    format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="nnunet: plans for nnU-Net v2. Of a trained network: monai-bundle (a folder), onnx, "
            "or torch-export (.pt2).",
        ),
    ] = Format.GENOTYPE,
    prune_threshold: Annotated[
        float | None,
        typer.Option(help="Keep edges whose gate is at least this. Default: the search's own threshold."),
    ] = None,
    trial: Annotated[
        str | None, typer.Option(help="Id of a trial. Default: the best trial of the experiment.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="Key of the final result that decides which trial is best.")
    ] = "default",
    max_multiply_adds: Annotated[
        float | None,
        typer.Option(help="Take the best network of at most so many multiply-adds (search: single-path)."),
    ] = None,
    max_parameters: Annotated[
        float | None,
        typer.Option(help="Take the best network of at most so many parameters (search: single-path)."),
    ] = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(help="Take the best network that needs at most so many ms for a patch on this machine."),
    ] = None,
    plans: Annotated[
        Path | None, typer.Option(help="nnunet: nnUNetPlans.json in nnU-Net's preprocessed folder.")
    ] = None,
    configuration: Annotated[
        str | None, typer.Option(help="nnunet: the configuration of these plans; unless given, 3d_fullres.")
    ] = None,
    base_channels: Annotated[
        float | None,
        typer.Option(
            min=1, help="nnunet: channels of the finest level; unless given, the training's, or 16."
        ),
    ] = None,
    max_channels: Annotated[
        int | None,
        typer.Option(min=1, help="nnunet: bound of the channels; unless given, the training's, or 320."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
) -> None:
    """Write the architecture that a search found as one JSON file, or a network for another tool.

    Another prune threshold or another budget needs no new search. More edges stay at a lower
    threshold.

    Example: uxnet export runs/first -o genotype.json --prune-threshold 0.6

    Example: uxnet export runs/front -o small.json --max-multiply-adds 0.5e9

    Example: uxnet export runs/train/best.pt -o model.onnx --format onnx
    """
    search: dict[str, Any] = {
        "prune_threshold": prune_threshold,
        "trial": trial,
        "max_multiply_adds": max_multiply_adds,
        "max_parameters": max_parameters,
        "max_latency_ms": max_latency_ms,
    }
    nnunet = {
        "plans": plans,
        "configuration": configuration,
        "base_channels": base_channels,
        "max_channels": max_channels,
    }
    for name, value in (search | nnunet).items():
        if value is not None and format not in OPTIONS[name]:
            formats = " or ".join(each.value for each in OPTIONS[name])
            raise UserError(
                f"--{name.replace('_', '-')}: belongs to --format {formats}, not to {format.value}; leave it out"
            )
    if format is Format.MONAI_BUNDLE:
        return write_bundle(source, output)
    refuse_existing(output, force)
    if format is Format.NNUNET:
        return write_nnunet(
            source, output, plans, configuration, base_channels, max_channels, {**search, "by": by}
        )
    if format in (Format.ONNX, Format.TORCH_EXPORT):
        return write_frozen(source, output, format, force)
    from ..search.export import export_genotype

    genotype, record = export_genotype(source, by=by, **search)
    genotype.save(output)
    if record is not None:
        score = "" if record.final is None or by not in record.final else f", {by} {record.final[by]:.4f}"
        typer.echo(f"trial {record.id}{score}")
    num_edges = len(genotype.grid.edges)
    typer.echo(f"{len(genotype.edges)} of {num_edges} edges, {len(genotype.nodes)} nodes")
    typer.echo("for nnU-Net, MONAI, ONNX and DICOM: uxnet export --help, and docs/elsewhere.md")
    typer.echo(f"wrote {output}; next: uxnet draw {output} -o {output.with_suffix('.png')}")
