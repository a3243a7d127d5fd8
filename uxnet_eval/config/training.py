"""The configuration of a training: one YAML file (``X.train.run.yml``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from search_space.strict import StrictConfig

from ..architectures.architecture import check_architecture, find_architecture
from ..dataset.folds import NUM_FOLDS, SPLIT_SEED
from .run_file import RunFile, RuntimeSettings
from .search import RunConfig

WIDTHS = ("base_channels", "parameters", "multiply_adds")
DEFAULT_BASE_CHANNELS = 16


class NetworkSettings(StrictConfig):
    """The network and its width."""

    architecture: str = "preset:unet"
    """The path of a genotype (.json, relative to this file or to the current folder); a preset:
    unet, res-unet, dense-unet, unet++, dla, full; a baseline: dynunet, segresnet, u-resnet,
    monai-unet++, dints; or, made from ``genotype``: searched, all-edges, searched-edges,
    searched-operations, random:SEED, unet-widths:SEED."""
    genotype: str | None = None
    """The path of a searched genotype (.json) that ``searched``, ``all-edges`` and so on are made
    from."""
    label: str | None = Field(None, min_length=1)
    """Name of the row in comparisons; trainings of the same label are one row, whatever their
    genotypes."""
    primary: str | None = Field(None, min_length=1)
    """Name of the row that comparisons test the first row against, named before any training ends;
    None: none."""
    base_channels: float | None = Field(None, ge=1, le=4096)
    """Channels of the finest level, doubled at every coarser level (and rounded). The default is 16
    if no budget is given."""
    parameters: int | None = Field(None, ge=1)
    """Instead of channels, a budget of parameters: the nearest width is taken."""
    multiply_adds: int | None = Field(None, ge=1)
    """Instead of channels, a budget of multiply-adds for one patch."""
    max_channels: int = Field(320, ge=1, le=16384)
    """Upper bound of the channels of a level (SegResNet and DiNTS double without bound)."""
    deep_supervision: bool | Literal["auto"] = "auto"
    """Add losses at coarser levels of the decoder; ``auto``: if the architecture has such
    outputs."""

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_architecture(value)

    @model_validator(mode="after")
    def _one_width(self) -> Self:
        given = [name for name in WIDTHS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both set the width; give one of {', '.join(WIDTHS)}")
        return self


class TrainSettings(StrictConfig):
    """The cases, the length and the method of the training."""

    fold: int = Field(0, ge=0)
    """The fold to validate on (from 0); the other folds are for training."""
    num_folds: int = Field(NUM_FOLDS, ge=2, le=10**6)
    """Number of random folds; ``splits_final.json`` in the data set's folder has its own."""
    left_out_fold: int | None = Field(None, ge=0)
    """Fold whose cases play no part in this training; None: all other folds are learned from."""
    split_seed: int = Field(SPLIT_SEED, ge=0, le=2**32 - 1)
    """Seed of the division into folds; separate from ``seed``, so that trainings of several seeds
    share folds."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Seed of the initial weights and of the patches."""
    epochs: int = Field(40, ge=1, le=10**6)
    """Largest number of epochs; each ends with a checkpoint from which the training can
    continue."""
    steps_per_epoch: int = Field(50, ge=1, le=10**6)
    """Optimizer steps per epoch."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """``adamw`` is better for a short training; ``sgd`` (Nesterov, momentum 0.99) is nnU-Net's."""
    learning_rate: float = Field(3e-3, gt=0)
    """Largest learning rate, after a linear warm-up over 5 % of the steps; nnU-Net's for ``sgd`` is
    0.01."""
    schedule: Literal["cosine", "poly"] = "cosine"
    """How the learning rate falls to 0: along a cosine, or as (1 - progress) to the power of
    0.9."""
    weight_decay: float = Field(1e-2, ge=0)
    """Decoupled for ``adamw`` (times the learning rate); nnU-Net's for ``sgd`` is 3e-5."""
    gradient_clip_norm: float = Field(12.0, gt=0)
    """Largest norm of the gradient; larger gradients are scaled down."""
    ema_decay: float = Field(0.99, ge=0, lt=1)
    """Decay of the exponential moving average of the weights. The average is validated and saved;
    0: no average."""
    validate_every: int = Field(5, ge=1)
    """Epochs between validations; the last epoch always ends with one."""
    validation_cases: int | None = Field(None, ge=1)
    """Cases of the fold to validate on during the training; None: all. The final scores use all
    cases."""
    patience: int | None = Field(None, ge=1)
    """Stop early after this many validations without a better one; None: never."""
    overlap: float = Field(0.5, ge=0, lt=1)
    """Overlap of neighbouring sliding windows in whole cases, as a fraction of the patch."""
    tolerance_mm: float = Field(1.0, ge=0)
    """Tolerance of the normalised surface Dice in the scores."""


class TrainRuntimeSettings(RuntimeSettings):
    """Where and how it is computed."""

    devices: Literal["auto"] | int = "auto"
    """Processes of this machine that share each batch, each with a GPU of its own (or with cores of
    the processor); ``auto``: all visible GPUs that can share it evenly."""


class TrainConfig(RunFile):
    """One training: the data, the plan for it, the network, the training and the machine."""

    network: NetworkSettings = NetworkSettings()
    train: TrainSettings = TrainSettings()
    runtime: TrainRuntimeSettings = TrainRuntimeSettings()

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.train.fold >= self.train.num_folds:
            raise ValueError(
                f"train.fold is {self.train.fold}; of {self.train.num_folds} folds, expected 0 to "
                f"{self.train.num_folds - 1}"
            )
        left_out = self.train.left_out_fold
        if left_out is not None and (left_out >= self.train.num_folds or left_out == self.train.fold):
            raise ValueError(
                f"train.left_out_fold is {left_out}; expected another fold than {self.train.fold}, below "
                f"{self.train.num_folds}"
            )
        return self

    @classmethod
    def from_values(cls, values: Any, source: str) -> Self:
        """The configuration of a training.

        From a search's file it takes data, plan and machine; the rest are defaults.
        """
        if isinstance(values, dict) and {"search", "space"} & values.keys():
            search = RunConfig.parse(values, source)
            values = search.model_dump(include={"dataset", "plan", "tracking", "runtime"})
        return super().from_values(values, source)

    def override(self, parameters: Mapping[str, Any], source: str = "NNI parameters") -> Self:
        """Overrides settings by name; a width replaces whichever width was set before."""
        full_names = (*WIDTHS, *(f"network.{name}" for name in WIDTHS))
        given = [name for name in full_names if parameters.get(name) is not None]
        if given:
            parameters = {**{name: None for name in WIDTHS}, **parameters}
        return super().override(parameters, source)

    def check_files(self, beside: Path | None = None, needs_data: bool = True) -> None:
        super().check_files(beside, needs_data)
        find_architecture(
            self.network.architecture,
            self.plan.levels,
            beside,
            searched=self.network.genotype,
            spatial_dims=self.plan.spatial_dims,
        )
