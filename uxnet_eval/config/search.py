"""The run configuration: one YAML file (``X.run.yml``) that says all about one search.

NNI's parameters of a trial override its values by name (:meth:`RunFile.override`). What it shares with the
configuration of a training is :class:`RunFile`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator
from typing_extensions import Self

from search_space import SearchSpaceConfig
from search_space.errors import UserError, nearest
from search_space.strict import StrictConfig

from ..dataset.folds import NUM_FOLDS
from .plan import Plan


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


class RuntimeSettings(StrictConfig):
    """Where and how it is computed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto``: the GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """``auto``: bfloat16 where the processor or GPU has instructions for it."""
    channels_last: bool = True
    """Memory layout with the channels innermost: the same numbers, faster convolutions."""
    num_workers: int = Field(1, ge=0)
    """Background threads that prepare batches; 0 prepares them in the training thread."""
    num_threads: int | None = Field(None, ge=1)
    """Threads of PyTorch on the CPU; None: all cores."""


class RunFile(StrictConfig):
    """What the configurations of all runs have in common: the data, the plan for it, sections of settings."""

    dataset: str
    """A folder in MSD layout: absolute, relative to this file or to the current folder, or below a data root
    (``UXNET_DATA``, else ``data/`` or ``../shared/data``)."""
    output: str | None = None
    """Folder of the results when run by hand; an NNI trial writes to its own."""
    plan: Plan

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The configuration in a YAML file.

        Raises:
            UserError: if the file cannot be read, is not YAML, or has an unknown key or a bad value.
        """
        path = Path(path)
        try:
            values = yaml.safe_load(path.read_text())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); make one with uxnet plan") from None
        except yaml.YAMLError as error:
            raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
        return cls.from_values(values, source=str(path))

    @classmethod
    def from_values(cls, values: Any, source: str) -> Self:
        """The configuration of a file's content; :meth:`parse` unless a subclass reads other files too."""
        return cls.parse(values, source=source)  # type: ignore[no-any-return]

    def override(self, parameters: Mapping[str, Any], source: str = "NNI parameters") -> Self:
        """This configuration with values replaced by name, wherever the name stands.

        Args:
            parameters: for example ``{"sparsity_weight": 0.5, "seed": 2}``.
            source: the beginning of an error message.

        Raises:
            UserError: if a name is no setting, or its value is not allowed.
        """
        values = self.model_dump()
        sections = self._sections()
        homes = {name: values for name in values if name not in dict(sections)}
        homes |= {name: values[section] for section, model in sections for name in model.model_fields}
        for name, value in parameters.items():
            if name not in homes:
                raise UserError(f"{source}: unknown parameter '{name}'{nearest(name, homes)}")
            homes[name][name] = value
        return self.parse(values, source=source)  # type: ignore[no-any-return]

    def to_yaml(self) -> str:
        """The resolved configuration, every value spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, default_flow_style=None)

    def check_files(self, beside: Path | None = None) -> None:
        """Raises :class:`UserError` if a file or folder that is named here is not there.

        Args:
            beside: the configuration's own folder.
        """
        find_dataset(self.dataset, beside)

    @classmethod
    def _sections(cls) -> list[tuple[str, type[StrictConfig]]]:
        return [
            (name, field.annotation)
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, StrictConfig)
        ]


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


def find_dataset(dataset: str, beside: Path | None = None) -> Path:
    """The data set's folder.

    Args:
        dataset: as written in the run configuration.
        beside: the configuration's own folder.

    Raises:
        UserError: if it lies in none of the places looked at, which are named.
    """
    if Path(dataset).is_absolute():
        roots = [Path("/")]
    else:
        given = os.environ.get("UXNET_DATA")
        roots = [*([beside] if beside else []), Path("."), *([Path(given)] if given else [])]
        roots += [Path("data"), Path("../shared/data")]
    for root in roots:
        if (root / dataset).is_dir():
            return (root / dataset).resolve()
    raise UserError(
        f"dataset '{dataset}' was not found in {', '.join(str(root) for root in roots)}; "
        "put it there, or set UXNET_DATA to the folder that holds it"
    )
