"""Trained networks for other runtimes: ONNX and exported programs, each with a description.

Shapes: B batch, C channels, K classes, *P the plan's patch size. The patch is fixed, the batch is
not.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from search_space.errors import UserError
from search_space.kernels.convolution import plain_operations
from search_space.replacing import replacing

from ..extras import extra
from ..networks.checkpoint import LoadedModel
from ..networks.exported import ONNX_SUFFIX, TORCH_EXPORT_SUFFIX, open_model
from ..networks.pipeline import NetworkFile, Pipeline, file_sha256, pipeline_path

OPSET = 18
TOLERANCE = 1e-3
"""Largest difference of a logit from PyTorch's, as a share of the largest logit (at least 1).

It is rounding, which grows with the window: a U-Net of random weights, logits up to 6, differs
from the same in float64 by 4e-5 at 32^3 and 6e-4 at 128^3 in onnxruntime, by 3e-5 and 2e-4 in
PyTorch. A wrong export differs by about 1.
"""
SAME_CLASS = 0.9999
"""Smallest share of voxels whose class is PyTorch's."""


def export_onnx(model: LoadedModel, output: Path) -> float:
    """Writes ``output`` (``.onnx``, opset 18) and its description.

    Returns the largest difference of a logit.

    Raises:
        UserError: a package is missing, or onnxruntime computes something else than PyTorch.
    """
    _check_suffix(output, ONNX_SUFFIX)
    for package in ("onnx", "onnxscript", "onnxruntime"):
        extra(package, "onnx", f"--format onnx ({output})")
    with _plain_export():
        program = torch.onnx.export(
            model.network,
            (_example(model, 2),),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["image"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    with replacing(output) as part:
        program.save(part)
        return _describe(model, part, output)


def export_torch(model: LoadedModel, output: Path) -> float:
    """Writes ``output`` (``.pt2``) and its description.

    Returns the largest difference of a logit.

    Raises:
        UserError: the written program computes something else than the network.
    """
    _check_suffix(output, TORCH_EXPORT_SUFFIX)
    with _plain_export():
        program = torch.export.export(
            model.network,
            (_example(model, 2),),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            strict=False,
        )
    with replacing(output) as part:
        torch.export.save(program, part)
        return _describe(model, part, output)


def _check_suffix(output: Path, suffix: str) -> None:
    if output.suffix != suffix:
        raise UserError(f"{output}: expected a name that ends in {suffix}, such as model{suffix}")


def _example(model: LoadedModel, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, model.dataset.num_channels, *model.plan.patch_size, generator=generator)


@contextmanager
def _plain_export() -> Iterator[None]:
    """PyTorch's own operations, without the exporters' remarks about themselves."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with plain_operations(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _describe(model: LoadedModel, part: Path, output: Path) -> float:
    """Writes the description of ``part``, which becomes ``output``, once both networks agree."""
    dims, patch = model.plan.spatial_dims, model.plan.patch_size
    pipeline = Pipeline(
        network=NetworkFile(
            file=output.name,
            sha256=file_sha256(part),
            input_name="image",
            output_name="logits",
            input_shape=("batch", model.dataset.num_channels, *patch),
            output_shape=("batch", model.dataset.num_classes, *patch),
            architecture=model.architecture.name,
        ),
        orientation="RAS" if dims == 3 else "RA",
        plan=model.plan,
        padding_value=model.plan.padding_value,
        overlap=model.overlap,
        dataset_name=model.dataset.name,
        channel_names=model.dataset.channel_names,
        class_names=model.dataset.class_names,
        label_values=model.dataset.label_values,
    )
    beside = pipeline_path(part)
    try:
        pipeline.save(beside)
        difference = _difference(model, part, output)
    finally:
        beside.unlink(missing_ok=True)
    pipeline.save(pipeline_path(output))
    return difference


def _difference(model: LoadedModel, path: Path, output: Path) -> float:
    """The largest difference of a logit between the network and its file, for one window.

    Raises :class:`UserError`, which names ``output``, if it or the classes differ too much.
    """
    window = _example(model, 1)
    with torch.no_grad(), plain_operations():
        expected = model.network(window)
        found = open_model(path, "cpu").network(window)
    difference = float((found - expected).abs().max())
    bound = TOLERANCE * max(1.0, float(expected.abs().max()))
    same_class = float((found.argmax(1) == expected.argmax(1)).double().mean())
    if not (difference <= bound and same_class >= SAME_CLASS):
        raise UserError(
            f"{output}: differs from PyTorch by {difference:.1e} in a logit, expected at most {bound:.1e}; "
            f"{same_class:.4%} of the voxels have its class, expected {SAME_CLASS:.2%}; nothing is written: report it, "
            "with the genotype and the versions of torch, onnx and onnxruntime"
        )
    return difference
