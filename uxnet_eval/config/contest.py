"""The configuration of a contest (``X.contest.run.yml``): the search and all its controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator
from typing_extensions import Self

from search_space.strict import StrictConfig
from strategies.single_path.proposed import LEAST_DIFFERENCE

from ..dataset.folds import NUM_FOLDS
from .search import BudgetSettings, ChoiceSettings, RunConfig, SearchSettings, SpaceSettings
from .training import TrainConfig, TrainRuntimeSettings, TrainSettings

Contender = Literal[
    "searched",
    "searched-unet-edges",
    "searched-widths",
    "gates",
    "perturbation",
    "random",
    "unet-widths",
    "unet",
    "all-edges",
    "dynunet",
    "monai-unet++",
    "u-resnet",
    "unet++",
    "res-unet",
    "dla",
    "scnas",
    "ronasmis",
    "paper",
    "paper-sbb",
    "paper-mssa",
    "paper-tau-0.60",
    "paper-tau-0.90",
]
CONTENDERS: tuple[str, ...] = get_args(Contender)


class ContestSettings(StrictConfig):
    """Who takes part in this run, and how it chooses."""

    contender: Contender = "searched"
    """searched: the search; searched-unet-edges: the same search on the U-Net's edges;
    searched-widths: the same search for the widths of the U-Net alone; gates, perturbation: the
    differentiable search in the same space without widths, decided by its gates at several taus, or
    by the Dice that the supernet loses; random: random architectures of the same space and budget;
    unet-widths: the U-Net with random widths; unet, unet++, res-unet, dla, all-edges, dynunet,
    monai-unet++, u-resnet: one network without a choice; paper: the paper's own search method, with
    tau 0.75; paper-tau-0.60, paper-tau-0.90: the same search, pruned at another tau; paper-sbb,
    paper-mssa: the paper's method for the operations alone, for the edges alone; scnas, ronasmis:
    these methods on the U-Net's edges."""
    outer_fold: int = Field(0, ge=0, lt=NUM_FOLDS)
    """Fold that scores the final network; neither search nor choice sees it."""
    inner_fold: int | None = Field(None, ge=0, lt=NUM_FOLDS)
    """Fold that the search validates on and proposals are chosen on; None: the one after the outer
    fold."""
    measured_cases: int | None = Field(None, ge=1)
    """Cases that a search measures its networks on, drawn from all but the outer fold; at most a
    third of these. None: those of the inner fold."""
    proposals: int = Field(4, ge=1)
    """Architectures that each contender may try: one training on the inner fold for each."""
    least_difference: float = Field(LEAST_DIFFERENCE, ge=0, le=1)
    """Share of their choices (edges, operations, widths) that two proposals of a search by
    measurement differ in, at least; 0: its best networks, however alike."""
    selection_epochs: int | None = Field(None, ge=1)
    """Epochs of these trainings; None: as many as the final training's."""
    seed: int = Field(0, ge=0)
    """Seed of the search, of random architectures and of all trainings."""
    search_seed: int | None = Field(None, ge=0)
    """Seed of the search; None: ``seed``. With one search seed, trials with several seeds share one
    search. Their differences then say nothing about other searches."""

    @property
    def inner(self) -> int:
        """The inner fold."""
        return (self.outer_fold + 1) % NUM_FOLDS if self.inner_fold is None else self.inner_fold

    @model_validator(mode="after")
    def _two_folds(self) -> Self:
        if self.inner == self.outer_fold:
            raise ValueError(f"inner_fold and outer_fold are both {self.inner}; give two folds")
        return self


class ContestConfig(RunConfig):
    """A search and its controls, with budget, choice, training, machine and contender."""

    MEANT: ClassVar[Mapping[str, str]] = {"strategy": "search", "seed": "contest"}

    space: SpaceSettings = SpaceSettings()
    search: SearchSettings = SearchSettings()
    budget: BudgetSettings = BudgetSettings()
    choice: ChoiceSettings = ChoiceSettings()
    train: TrainSettings = TrainSettings()
    runtime: TrainRuntimeSettings = TrainRuntimeSettings()
    contest: ContestSettings = ContestSettings()

    @model_validator(mode="after")
    def _one_process(self) -> Self:
        if self.runtime.devices not in ("auto", 1) or self.runtime.num_nodes > 1:
            raise ValueError(
                "runtime.devices: a contest runs in one process; leave devices and num_nodes out"
            )
        return self

    @model_validator(mode="after")
    def _contest_sets_the_folds(self) -> Self:
        for section, name in (
            ("search", "left_out_fold"),
            ("search", "validation_fold"),
            ("train", "left_out_fold"),
        ):
            if getattr(getattr(self, section), name) is not None:
                raise ValueError(
                    f"{section}.{name}: the contest sets it from outer_fold and inner_fold; leave it out"
                )
        return self

    def search_config(self, changes: Mapping[str, Mapping[str, Any]]) -> RunConfig:
        """The search of this contest, with values replaced by section and name."""
        values = {name: self.model_dump()[name] for name in RunConfig.model_fields if name != "output"}
        values["runtime"]["devices"] = 1
        values["search"] |= {
            "seed": self.contest.seed if self.contest.search_seed is None else self.contest.search_seed,
            "left_out_fold": self.contest.outer_fold,
            "validation_fold": self.contest.inner if self.contest.measured_cases is None else None,
            "validation_cases": self.contest.measured_cases or self.search.validation_cases,
        }
        for section, settings in changes.items():
            values[section] |= settings
        config: RunConfig = RunConfig.parse(values, "contest: search")
        return config

    def training_config(self, network: Mapping[str, Any], train: Mapping[str, Any]) -> TrainConfig:
        """A training of this contest: of ``network``, with settings of the training replaced."""
        values = {
            name: self.model_dump()[name] for name in ("dataset", "plan", "tracking", "train", "runtime")
        }
        values["network"] = dict(network)
        values["runtime"]["devices"] = 1
        values["train"] |= {"seed": self.contest.seed, **train}
        config: TrainConfig = TrainConfig.parse(values, "contest: train")
        return config
