"""The run configuration of a search: one YAML file (``X.run.yml``) that says all about it.

NNI's parameters of a trial override its values by name (:meth:`.run_file.RunFile.override`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from search_space import SearchSpaceConfig
from search_space.strict import StrictConfig

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


class SearchSettings(StrictConfig):
    """How the search runs."""

    epochs: int = Field(20, ge=1)
    """Epochs; the last one ends with a validation."""
    steps_per_epoch: int = Field(25, ge=1)
    """Bi-level steps (one for the architecture, one for the weights) per epoch."""
    warmup_epochs: int = Field(2, ge=0)
    """The first epochs move the network weights alone."""
    learning_rate: float = Field(3e-3, gt=0)
    """Of the network weights (AdamW), falling along a cosine."""
    weight_decay: float = Field(1e-5, ge=0)
    """Of the network weights; alpha and beta have none."""
    alpha_learning_rate: float = Field(2e-2, gt=0)
    """Of the operations' weights."""
    beta_learning_rate: float = Field(1e-1, gt=0)
    """Of the gates."""
    sparsity_weight: float = Field(1.0, ge=0)
    """Weight of the regulariser J (equation 2) in the architecture step."""
    sparsity_schedule: Literal["constant", "rising"] = "rising"
    """``rising``: that weight rises from 0 after the warm-up, so that the data speaks before gates are pushed to 0 or 1."""
    edge_weight: float = Field(0.1, ge=0)
    """Weight of the expected share of edges in the architecture step: what an edge must be worth, times their number."""
    cost_weight: float = Field(0.0, ge=0)
    """Weight of the expected cost (multiply-adds, relative to the mean candidate) in the architecture step."""
    final_temperature: float = Field(1.0, gt=0, le=1)
    """T of softmax(alpha / T) falls from 1 to this after the warm-up; 1 leaves it out."""
    sample_edges: bool = True
    """Draw in every step which edges are there, each with the probability of its gate, instead of scaling them by it."""
    sample_operations: bool = True
    """Leave out a random half of each layer's candidates in every step of the weights, so that each learns to do without
    the others."""
    commit: bool = True
    """In the last 40 % of the epochs after the warm-up, compute the operations and edges that would be derived, alone;
    in the last 20 %, move the weights alone."""
    deep_supervision: bool = True
    """A loss at coarser levels of the decoder too, as in the training of what is found."""
    gradient_clip_norm: float = Field(12.0, gt=0)
    """Largest norm of the gradient of the network weights; a longer one is shortened."""
    prune_threshold: float = Field(0.75, gt=0, lt=1)
    """tau: an edge stays where its gate is at least this."""
    validate_every: int = Field(1, ge=1)
    """Epochs between validations; the last epoch always ends with one."""
    left_out_fold: int | None = Field(None, ge=0, lt=NUM_FOLDS)
    """The cases of this fold (of the five that ``uxnet train`` makes by default) play no part in the search, so that
    they can judge what it found; None: all cases are used."""
    validation_cases: int = Field(12, ge=1)
    """Cases held out from both halves of the search (fewer if the data set is small)."""
    folded: bool = True
    """Add the kernels of linear candidates instead of their outputs: the same function, faster."""
    checkpointed_levels: int = Field(0, ge=0)
    """Levels, from the finest on, that are computed once more in the backward pass: less memory, in more time."""
    seed: int = Field(0, ge=0)
    """Of the split, the patches and the network's start."""


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
