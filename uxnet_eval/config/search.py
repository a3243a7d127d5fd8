"""The run configuration of a search: one YAML file (``X.run.yml``) that says all about it.

NNI's parameters of a trial override its values by name (:meth:`.run_file.RunFile.override`).
"""

from __future__ import annotations

from pydantic import Field, model_validator

from search_space import SearchSpaceConfig
from search_space.strict import StrictConfig
from strategies.settings import StrategySettings

from ..dataset.folds import NUM_FOLDS
from .run_file import RunFile, RuntimeSettings


class SpaceSettings(StrictConfig):
    """What the plan leaves open about the space; see :class:`search_space.SearchSpaceConfig` for the fields."""

    base_channels: int = Field(8, ge=1)
    max_channels: int = Field(320, ge=1)
    normal_candidates: tuple[str, ...] | None = None
    reduction_candidates: tuple[str, ...] | None = None
    expansion_candidates: tuple[str, ...] | None = None
    search_blocks: bool = True
    search_edges: bool = True


class SearchSettings(StrategySettings):
    """How the search runs: its length, its data, and all settings of the strategy."""

    epochs: int = Field(20, ge=1)
    """Number of epochs; the last one ends with a validation."""
    steps_per_epoch: int = Field(25, ge=1)
    """Bi-level steps (one for the architecture, one for the weights) per epoch."""
    learning_rate: float = Field(3e-3, gt=0)
    """Learning rate of the network weights (AdamW); it falls along a cosine."""
    weight_decay: float = Field(1e-5, ge=0)
    """Weight decay of the network weights; alpha and beta have none."""
    deep_supervision: bool = True
    """Add losses at coarser levels of the decoder, as the training that follows does."""
    validate_every: int = Field(1, ge=1)
    """Epochs between validations; the last epoch always ends with one."""
    left_out_fold: int | None = Field(None, ge=0, lt=NUM_FOLDS)
    """Keep the cases of this fold (of the five of ``uxnet train``) out of the search; None: use all cases."""
    validation_cases: int = Field(12, ge=1)
    """Cases held out from both halves of the search (fewer if the data set is small)."""
    checkpointed_levels: int = Field(0, ge=0)
    """Levels, from the finest on, that the backward pass computes again: less memory, more time."""


class RunConfig(RunFile):
    """One search: the data, the plan for it, the space, the search and the machine."""

    space: SpaceSettings = SpaceSettings()
    search: SearchSettings = SearchSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        self.space_config(1, 2)  # raises if the candidates or strides do not fit
        return self

    def space_config(self, in_channels: int, num_classes: int) -> SearchSpaceConfig:
        """The space that the plan and the settings describe, for data with these channels and classes."""
        return SearchSpaceConfig(
            spatial_dims=self.plan.spatial_dims,
            in_channels=in_channels,
            num_classes=num_classes,
            levels=len(self.plan.strides) + 1,
            strides=self.plan.strides,
            **self.space.model_dump(),
        )
