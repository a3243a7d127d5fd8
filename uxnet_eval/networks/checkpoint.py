"""A trained network as one file: weights, architecture, plan and classes.

It is enough to predict with nothing else.

The file holds tensors and plain values alone, so it is loaded without running any code of it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, StrictInt, model_validator
from torch import Tensor, nn
from typing_extensions import Self

from search_space.errors import UserError
from search_space.strict import StrictConfig

from ..architectures.architecture import Architecture
from ..config.plan import Plan
from ..config.training import TrainConfig
from ..dataset.cases import Dataset
from ..dataset.description import MAX_LABEL_VALUE
from ..recipe.precision import channels_last, resolve_device, resolve_precision
from ..runs.files import replacing
from ..runs.tensors import read_tensors
from .build import build_network

FORMAT = "uxnet-model"
VERSION = 1
KEYS = ("weights", "architecture", "base_channels", "max_channels", "plan", "dataset", "config", "scores")


class Described(StrictConfig):
    """What a file says of the data that its network was trained on."""

    name: str
    """Name of the data set."""
    channel_names: tuple[str, ...] = Field(min_length=1)
    """A name for each channel."""
    class_names: tuple[str, ...] = Field(min_length=2)
    """A name for each class, background first."""
    label_values: tuple[StrictInt, ...]
    """The value of each class in label maps, ascending."""
    spatial_dims: Literal[2, 3]
    """Spatial dimensions of the data."""

    @model_validator(mode="after")
    def _one_value_for_each_class(self) -> Self:
        ascending = list(self.label_values) == sorted(set(self.label_values))
        in_range = all(0 <= value <= MAX_LABEL_VALUE for value in self.label_values)
        if len(self.label_values) != len(self.class_names) or not ascending or not in_range:
            raise ValueError(
                f"label_values are {list(self.label_values)}, expected {len(self.class_names)} ascending numbers from "
                f"0 to {MAX_LABEL_VALUE}"
            )
        return self


class Settings(StrictConfig):
    """What a file says of the network and of prediction with it."""

    base_channels: float = Field(ge=0.1, le=1e6)
    """Channels of the finest level."""
    max_channels: int = Field(ge=1, le=10**6)
    """Upper bound of the channels of a level."""
    overlap: float = Field(ge=0, lt=1)
    """Overlap of neighbouring sliding windows."""
    precision: Literal["auto", "float32", "bfloat16"]
    """Number format of the training."""


@dataclass(frozen=True)
class LoadedModel:
    """A trained network, ready to predict.

    Attributes:
        path: the file.
        network: in evaluation mode, on ``device``; (B, C, *patch_size) to logits (B, K,
            *patch_size).
        architecture: of the network.
        base_channels: its width.
        plan: spacing, normalisation and patch size.
        dataset: channels, classes and label values, without cases or folder.
        config: the training's, resolved; as plain values.
        scores: of the checkpoint in the training (``val_dice``, ``epoch``).
        device: where it computes.
        precision: Lightning's name of the number format.
        overlap: of sliding windows in the training's validation.
    """

    path: Path
    network: nn.Module
    architecture: Architecture
    base_channels: float
    plan: Plan
    dataset: Dataset
    config: dict[str, Any]
    scores: dict[str, float]
    device: torch.device
    precision: str
    overlap: float


def save_model(
    path: str | os.PathLike[str],
    *,
    weights: Mapping[str, Tensor],
    architecture: Architecture,
    base_channels: float,
    config: TrainConfig,
    dataset: Dataset,
    scores: Mapping[str, float],
) -> None:
    """Writes a trained network, whole or not at all.

    Args:
        path: the file.
        weights: the network's state dict; entries of deep supervision heads are left out.
        architecture: of the network.
        base_channels: its width.
        config: the training's, resolved.
        dataset: that it was trained on.
        scores: numbers to keep with it.

    Raises:
        UserError: if the file cannot be written; one that was there stays.
    """
    with torch.device("meta"):
        names = _network(
            architecture, config.plan, dataset, base_channels, config.network.max_channels
        ).state_dict()
    values = {
        "format": FORMAT,
        "version": VERSION,
        "weights": {name: weights[name].detach().cpu() for name in names},
        "architecture": architecture.to_dict(),
        "base_channels": base_channels,
        "max_channels": config.network.max_channels,
        "plan": config.plan.model_dump(mode="json"),
        "dataset": {
            "name": dataset.name,
            "channel_names": list(dataset.channel_names),
            "class_names": list(dataset.class_names),
            "label_values": list(dataset.label_values),
            "spatial_dims": dataset.spatial_dims,
        },
        "config": config.model_dump(mode="json"),
        "scores": {name: float(score) for name, score in scores.items()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "monai", "pytorch-lightning")},
        },
    }
    path = Path(path)
    try:
        with replacing(path) as part, part.open("wb") as stream:  # a path's name would be stored too
            torch.save(values, stream)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise UserError(
            f"{path}: cannot be written ({' '.join(str(error).split())}); free space, or give another folder"
        ) from None


def load_model(
    path: str | os.PathLike[str], device: str = "auto", precision: str | None = None
) -> LoadedModel:
    """The trained network of a file that :func:`save_model` wrote.

    Args:
        path: the file.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``float32`` or ``bfloat16``; None: as in the training.

    Raises:
        UserError: begins with the file's name; it is absent, truncated, holds pickled objects, is
            no model or of another version, or its weights do not fit its architecture.
    """
    path = Path(path)
    values = read_tensors(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        hint = (
            "; this is the state of a running training, give best.pt or last.pt beside it"
            if isinstance(values, dict) and "pytorch-lightning_version" in values
            else "; make one with uxnet train"
        )
        raise UserError(f"{path}: holds no trained network{hint}")
    if values.get("version") != VERSION:
        newer = isinstance(values.get("version"), int) and values["version"] > VERSION
        raise UserError(
            f"{path}: format version {values.get('version')!r}, this program reads {VERSION}; "
            + ("update the program" if newer else "train it again with this version")
        )
    missing = [key for key in KEYS if key not in values]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; train it again")
    architecture = Architecture.from_dict(values["architecture"], str(path))
    plan = Plan.parse(values["plan"], str(path))
    described: Described = Described.parse(values["dataset"], f"{path}: dataset")
    try:
        settings: Settings = Settings.parse(
            {
                "base_channels": values["base_channels"],
                "max_channels": values["max_channels"],
                "overlap": values["config"]["train"]["overlap"],
                "precision": precision or values["config"]["runtime"]["precision"],
            },
            "its settings",
        )
        dataset = Dataset(folder=Path(), cases=(), test_cases=(), **described.model_dump())
        network = _network(architecture, plan, dataset, values["base_channels"], values["max_channels"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: its description is damaged ({error!r}); train it again") from None
    _load_weights(network, values["weights"], architecture, path)
    target = resolve_device(device)
    network.to(target, memory_format=channels_last(plan.spatial_dims)).eval().requires_grad_(False)
    return LoadedModel(
        path=path,
        network=network,
        architecture=architecture,
        base_channels=values["base_channels"],
        plan=plan,
        dataset=dataset,
        config=values["config"],
        scores=values["scores"],
        device=target,
        precision=resolve_precision(settings.precision, target),
        overlap=settings.overlap,
    )


def _network(
    architecture: Architecture, plan: Plan, dataset: Dataset, base_channels: float, max_channels: int
) -> nn.Module:
    return build_network(
        architecture,
        plan,
        dataset.num_channels,
        dataset.num_classes,
        base_channels=base_channels,
        max_channels=max_channels,
    )


def _load_weights(network: nn.Module, weights: Any, architecture: Architecture, path: Path) -> None:
    own = network.state_dict()
    if not isinstance(weights, dict):
        raise UserError(f"{path}: holds no weights; train it again")
    for name, weight in weights.items():
        if not isinstance(weight, Tensor) or weight.layout is not torch.strided or weight.is_complex():
            raise UserError(f"{path}: weight {name} is no array of real numbers; train it again")
        if not weight.isfinite().all():
            raise UserError(f"{path}: weight {name} is not finite; train it again with a lower learning_rate")
    faults = [f"{name} is missing" for name in own if name not in weights]
    faults += [f"{name} is superfluous" for name in weights if name not in own]
    faults += [
        f"{name} has shape {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise UserError(
            f"{path}: its weights do not fit its architecture '{architecture.name}' ({faults[0]}{more}); train it again"
        )
    network.load_state_dict(weights)
