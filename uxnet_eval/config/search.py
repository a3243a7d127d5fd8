"""The run configuration of a search: one YAML file (``X.run.yml``) that says all about it.

NNI's parameters of a trial override its values by name (:meth:`.run_file.RunFile.override`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from search_space import SearchSpaceConfig
from search_space.errors import UserError, nearest
from search_space.strict import StrictConfig
from strategies.settings import StrategySettings

from .run_file import RunFile, RuntimeSettings

STRATEGIES = {
    "sparse-darts": "operations and edges",
    "darts": "operations and edges",
    "gumbel": "operations and edges",
    "proxyless": "operations and edges",
    "scnas": "one operation for each kind of cell, on the U-Net's edges",
    "single-path": "operations, edges and widths",
    "evolution": "operations, edges and widths",
    "random": "operations, edges and widths",
    "regression": "operations, edges and widths",
    "rl": "operations, edges and widths",
    "ronasmis": "operations, edges and widths",
}
"""What each strategy searches."""
FROM_SCRATCH = ("evolution", "random", "regression", "rl")
"""The strategies that train every architecture alone, from random weights."""
BY_MEASUREMENT = ("single-path", *FROM_SCRATCH)
"""The strategies that measure networks and can search all of the space."""
SHARED = ("single-path", "ronasmis")
"""The strategies whose steps train one small part of shared weights each."""
RATE, SHARED_RATE = 3e-3, 1e-2
"""Learning rates of the network weights. Shared weights need the larger one, see
docs/ranks.md."""


class SpaceSettings(StrictConfig):
    """The settings of the space that the plan leaves open.

    See :class:`search_space.SearchSpaceConfig` for the fields.
    """

    base_channels: int = Field(8, ge=1, le=4096)
    max_channels: int = Field(320, ge=1, le=16384)
    normal_candidates: tuple[str, ...] | None = None
    reduction_candidates: tuple[str, ...] | None = None
    expansion_candidates: tuple[str, ...] | None = None
    width_choices: tuple[float, ...] = (1.0,)
    anchored_edges: bool = False
    edge_scale: bool = False
    pass_through: bool = False
    search_blocks: bool = True
    search_edges: bool = True


class SearchSettings(StrategySettings):
    """How the search runs: its length, its data, and all settings of the strategy."""

    strategy: str = "sparse-darts"
    """How to search; one of ``sparse-darts`` (the paper), ``darts``, ``gumbel``, ``proxyless``,
    ``scnas``, ``single-path``, ``ronasmis``, ``evolution``, ``random``, ``regression``, ``rl``."""
    epochs: int = Field(20, ge=1, le=10**6)
    """Number of epochs; the last one ends with a validation."""
    steps_per_epoch: int = Field(25, ge=1, le=10**6)
    """Bi-level steps (one for the architecture, one for the weights) per epoch."""
    learning_rate: float | None = Field(None, gt=0)
    """Learning rate of the network weights (AdamW); it falls along a cosine. None: 0.01 for
    ``single-path`` and ``ronasmis``, whose steps train a small part of all weights each, else
    0.003."""
    weight_decay: float = Field(1e-5, ge=0)
    """Weight decay of the network weights; alpha and beta have none."""
    deep_supervision: bool = True
    """Add losses at coarser levels of the decoder, as the training that follows does."""
    validate_every: int = Field(1, ge=1)
    """Epochs between validations; the last epoch always ends with one."""
    left_out_fold: int | None = Field(None, ge=0, le=10**6)
    """Keep the cases of this fold (of the five of ``uxnet train``, or of ``splits_final.json``) out
    of the search; None: use all cases."""
    validation_fold: int | None = Field(None, ge=0, le=10**6)
    """Validate on the cases of this fold, the inner fold, which the search then does not learn
    from; None: on ``validation_cases`` drawn at random."""
    validation_cases: int = Field(12, ge=1)
    """Cases to validate on, held out from what the search learns from (fewer if the data set is
    small)."""
    split_seed: int | None = Field(None, ge=0, le=2**32 - 1)
    """Seed of the split of the cases. Set it where searches of several seeds are compared: they
    then share their validation cases. None: ``seed``."""
    checkpointed_levels: int = Field(0, ge=0)
    """Levels, from the finest on, that the backward pass computes again: less memory, more time."""

    @property
    def weights_rate(self) -> float:
        """The learning rate of the network weights."""
        if self.learning_rate is not None:
            return self.learning_rate
        return SHARED_RATE if self.strategy in SHARED else RATE

    @field_validator("strategy")
    @classmethod
    def _check_strategy(cls, strategy: str) -> str:
        if strategy not in STRATEGIES:
            raise UserError(
                f"strategy '{strategy}' is unknown{nearest(strategy, STRATEGIES)}; known: {', '.join(STRATEGIES)}"
            )
        return strategy


class BudgetSettings(StrictConfig):
    """Hard limits on the cost of the networks that a search by measurement chooses."""

    multiply_adds: float | None = Field(None, gt=0)
    """Largest number of multiply-adds of one patch; None: those of the U-Net of
    ``base_channels``."""
    max_parameters: float | None = Field(None, gt=0)
    """Largest number of parameters; None: no limit."""
    max_activations: float | None = Field(None, gt=0)
    """Largest number of values that the convolutions write for one patch; None: no limit. The time
    of a network follows it more closely than the multiply-adds, on any machine."""
    latency_ms: float | Literal["unet"] | None = None
    """Longest time for one patch on this machine, in ms; unet: that of the U-Net of
    ``base_channels``; None: no limit. Each network that the search trains is measured."""

    @field_validator("latency_ms", mode="before")
    @classmethod
    def _ms_or_unet(cls, value: object) -> object:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value in (None, "unet") or (is_number and value > 0):  # type: ignore[operator]
            return value
        raise ValueError(f"{value!r} is neither a number of milliseconds above 0 nor unet")

    @property
    def limits_time(self) -> bool:
        """Whether a limit stands for time: activations or latency."""
        return self.max_activations is not None or self.latency_ms is not None


class ChoiceSettings(StrictConfig):
    """How a search by measurement trains shared weights, if it has them, and chooses networks."""

    paths_per_step: int = Field(1, ge=1, le=10**6)
    """Architectures that learn from each batch."""
    sandwich: bool = False
    """Train each drawn architecture at the largest and at the smallest widths too; the narrower
    ones also learn from the outputs of the widest (sandwich rule and in-place distillation). A step
    takes about three times as long."""
    budget_shares: tuple[float, ...] = (1.0, 0.5, 0.25)
    """Budgets that architectures are chosen for, as shares of the budget's multiply-adds; together
    they make the front."""
    num_measured: int = Field(60, ge=2, le=10**6)
    """Architectures measured for each budget."""
    population: int = Field(24, ge=2, le=10**6)
    """Architectures drawn at random for each budget, and size of the population that evolves."""
    unet_share: float = Field(0.0, ge=0, le=1)
    """Probability that a random architecture is drawn near the U-Net: it keeps a uniformly drawn
    fraction of the U-Net's edges, operations and widths. Random controls are drawn alike."""
    finetune_steps: int = Field(60, ge=0, le=10**6)
    """Steps of a short training before an architecture is measured, from the shared weights if the
    strategy has them; 0: none. The ranking by shared weights alone says little about trained
    networks."""
    finetune_learning_rate: float | None = Field(None, gt=0)
    """Largest learning rate of that training (AdamW, cosine); None: 0.001 from shared weights,
    0.003 from random ones, as ``uxnet train``."""
    finalists: int = Field(0, ge=0, le=10**6)
    """The best architectures of each budget, trained once more from random weights. Only they then
    count. 0: none."""
    finalist_steps: int = Field(150, ge=1, le=10**6)
    """Steps of that training; see docs/ranks.md for how well it ranks."""
    finalist_learning_rate: float = Field(3e-3, gt=0)
    """Largest learning rate of that training (AdamW, cosine)."""
    max_minutes: float | None = Field(None, gt=0)
    """Stop measuring after so many minutes, of all budgets together; each has an equal part, and at
    least one measurement. None: measure ``num_measured`` networks, however long that takes. With a
    limit, a slower machine finds other networks."""
    measure_inherited: bool = False
    """Measure each architecture before its short training too, to see what shared weights alone
    tell. Without short trainings this is always measured."""
    measure_latency: bool = True
    """Measure the latency of every operation on this machine (about half a minute), so that the
    front shows the latency of its networks."""
    controller_learning_rate: float = Field(5e-3, gt=0)
    """Learning rate of the controller of ``ronasmis`` (Adam)."""

    @model_validator(mode="after")
    def _check(self) -> ChoiceSettings:
        if not self.budget_shares or not all(0 < share <= 1 for share in self.budget_shares):
            raise ValueError(f"budget_shares are {self.budget_shares}; expected shares above 0 and at most 1")
        if self.population > self.num_measured:
            raise ValueError(f"population {self.population} is more than num_measured {self.num_measured}")
        return self


class RunConfig(RunFile):
    """One search: the data, the plan for it, the space, the search and the machine."""

    MEANT: ClassVar[Mapping[str, str]] = {"strategy": "search"}

    space: SpaceSettings = SpaceSettings()
    search: SearchSettings = SearchSettings()
    budget: BudgetSettings = BudgetSettings()
    choice: ChoiceSettings = ChoiceSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        self.space_config(1, 2)  # raises if the candidates or strides do not fit
        search = self.search
        if search.validation_fold is not None and search.validation_fold == search.left_out_fold:
            raise ValueError(
                f"validation_fold and left_out_fold are both {search.left_out_fold}; give two folds"
            )
        self._check_what_is_searched()
        if search.decide_by == "perturbation":
            if search.strategy != "sparse-darts":
                raise ValueError(
                    f"decide_by: {search.strategy} has no gates to perturb; use strategy: sparse-darts"
                )
            if search.commit:
                raise ValueError(
                    "decide_by: perturbation decides at the end of the search, commit before it; set commit: false"
                )
        if self.choice.sandwich and search.strategy == "single-path" and len(self.space.width_choices) == 1:
            raise ValueError("sandwich: the space has one width; give width_choices, or leave sandwich out")
        if search.strategy in FROM_SCRATCH and not self.choice.finetune_steps:
            raise ValueError(
                f"finetune_steps: {search.strategy} trains every architecture from random weights; give 1 or more"
            )
        if self.budget.latency_ms is not None and not self.choice.measure_latency:
            raise ValueError(
                "budget.latency_ms: needs the table of latencies; set choice.measure_latency: true"
            )
        return self

    def _check_what_is_searched(self) -> None:
        space, strategy = self.space, self.search.strategy
        searched = STRATEGIES[strategy]
        if len(space.width_choices) > 1 and "widths" not in searched:
            raise ValueError(
                f"width_choices: {strategy} searches no widths, but {searched}; use strategy: single-path"
            )
        if strategy == "scnas" and space.search_edges:
            raise ValueError(f"search_edges: scnas searches {searched}; set search_edges: false")
        if not (space.search_blocks or space.search_edges or len(space.width_choices) > 1):
            widths = ", or give several width_choices" if "widths" in searched else ""
            raise ValueError(
                f"search_blocks and search_edges are both false: {strategy} has nothing to search; "
                f"set one to true{widths}"
            )

    def space_config(self, in_channels: int, num_classes: int) -> SearchSpaceConfig:
        """The search space of the plan and the settings, for these channels and classes."""
        return SearchSpaceConfig(
            spatial_dims=self.plan.spatial_dims,
            in_channels=in_channels,
            num_classes=num_classes,
            levels=len(self.plan.strides) + 1,
            strides=self.plan.strides,
            **self.space.model_dump(),
        )
