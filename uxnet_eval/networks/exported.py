"""Predicting with exported networks: ONNX in onnxruntime, and PyTorch's exported programs.

Shapes: B batch, C channels, K classes, *P the plan's patch size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from search_space.errors import UserError

from ..config.plan import Plan
from ..dataset.msd import Dataset
from ..extras import extra
from ..recipe.precision import resolve_device
from .checkpoint import LoadedModel, load_model
from .pipeline import Pipeline, load_pipeline

ONNX_SUFFIX, TORCH_EXPORT_SUFFIX = ".onnx", ".pt2"


@dataclass(frozen=True)
class ExportedModel:
    """A network of another runtime, ready to predict.

    See :class:`uxnet_eval.prediction.windows.Model`.
    """

    path: Path
    network: Callable[[Tensor], Tensor]
    plan: Plan
    dataset: Dataset
    device: torch.device
    precision: str
    overlap: float


class OnnxNetwork:
    """A network that onnxruntime computes: (B, C, *P) to logits (B, K, *P), float32, on the CPU.

    Args:
        path: the ONNX file.
        pipeline: gives the names of its input and output.
        device: ``auto``, ``cpu`` or ``cuda``; of a GPU only with onnxruntime's package for it.

    Raises:
        UserError: onnxruntime is missing, cannot read the file, or has no GPU.
    """

    def __init__(self, path: Path, pipeline: Pipeline, device: str = "auto") -> None:
        onnxruntime = extra("onnxruntime", "onnx", str(path))
        has_gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        if device == "cuda" and not has_gpu:
            raise UserError(
                f"{path}: onnxruntime sees no GPU; use --device auto or cpu, or install onnxruntime-gpu"
            )
        providers = ["CPUExecutionProvider"]
        if has_gpu and device != "cpu":
            providers.insert(0, "CUDAExecutionProvider")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime's own kinds of exceptions have no common base but this
            raise UserError(
                f"{path}: onnxruntime cannot read it ({' '.join(str(error).split())}); export it again"
            ) from None
        self._input, self._output = pipeline.network.input_name, pipeline.network.output_name

    def __call__(self, windows: Tensor) -> Tensor:
        values = np.ascontiguousarray(windows.float().cpu().numpy())
        return torch.from_numpy(self._session.run([self._output], {self._input: values})[0])


def open_model(path: Path, device: str = "auto", precision: str | None = None) -> LoadedModel | ExportedModel:
    """A trained network of any kind of file that this project writes.

    Args:
        path: ending in ``.onnx`` or ``.pt2`` with its description beside it, or else a checkpoint.
        device, precision: see :func:`uxnet_eval.networks.checkpoint.load_model`; exported networks
            compute in float32.

    Raises:
        UserError: begins with the file's name.
    """
    if path.suffix not in (ONNX_SUFFIX, TORCH_EXPORT_SUFFIX):
        return load_model(path, device, precision)
    if precision == "bfloat16":
        raise UserError(f"{path}: holds a network of float32; leave --precision bfloat16 out")
    pipeline = load_pipeline(path)
    network: Callable[[Tensor], Tensor]
    if path.suffix == ONNX_SUFFIX:
        network, where = OnnxNetwork(path, pipeline, device), torch.device("cpu")
    else:
        where = resolve_device(device)
        network = _torch_program(path).to(where)
    return ExportedModel(path, network, pipeline.plan, pipeline.dataset, where, "32-true", pipeline.overlap)


def _torch_program(path: Path) -> torch.nn.Module:
    try:
        return torch.export.load(path).module()
    except Exception as error:  # a damaged archive raises many kinds
        raise UserError(
            f"{path}: PyTorch {torch.__version__} cannot read it ({' '.join(str(error).split())}); export it again "
            "with this version"
        ) from None
