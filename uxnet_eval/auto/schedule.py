"""The schedule: the settings of every stage, and their predicted minutes and memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from search_space.strict import StrictConfig

from ..config.search import RunConfig
from ..config.training import TrainConfig

STAGES = ("check", "plan", "search", "choose", "train", "evaluate", "report")
"""The stages, in their order."""
SEARCHED, UNET = "searched", "U-Net"
"""The two networks, as their labels say in tables."""
BOTH = "both"
"""The ensemble of both."""
FOLDERS = {SEARCHED: "searched", UNET: "unet", BOTH: "both"}


class Steps(StrictConfig):
    """The length of a training."""

    epochs: int = Field(ge=1)
    """Number of epochs."""
    steps_per_epoch: int = Field(ge=1)
    """Optimizer steps per epoch."""
    validate_every: int = Field(ge=1)
    """Epochs between validations."""

    @property
    def total(self) -> int:
        """Optimizer steps in all."""
        return self.epochs * self.steps_per_epoch


class Schedule(StrictConfig):
    """What ``uxnet auto`` does in the hours that it has."""

    search: RunConfig
    """The search: data, plan, space, budget, choice and machine."""
    proposals: int = Field(ge=1)
    """Architectures of the search that the choice trains, beside the U-Net if there is one."""
    choice: Steps | None
    """Length of each training of the choice; None: there is no choice, and the best of the search
    is taken."""
    final: Steps
    """Length of each final training."""
    folds: tuple[int, ...]
    """Folds of the final trainings, each validated on its own fold; empty: one training on all
    cases but the left-out fold's."""
    with_unet: bool
    """Whether the U-Net is trained beside the found network."""
    minutes: dict[str, float]
    """Predicted minutes of each stage."""
    parts: dict[str, dict[str, float]]
    """Predicted minutes of the parts of a stage (``steps``, ``measured``, ``scored``)."""
    memory_gib: dict[str, float]
    """Predicted peak memory of each stage."""
    reasons: dict[str, str] = Field(default_factory=dict)
    """Why a setting of the search has its value, by full name."""

    @property
    def outer_fold(self) -> int:
        """The left-out fold: it scores the result, and no stage before sees it."""
        return self.search.search.left_out_fold or 0

    @property
    def inner_fold(self) -> int:
        """The fold that chooses: the first other one."""
        return 0 if self.outer_fold else 1

    @property
    def compared_on(self) -> tuple[int, ...]:
        """The folds that tell which of the ensembles is best; none: nothing does.

        Final trainings with folds of their own tell it best: networks that learn fast are ahead in
        short trainings, and need not be in the end.
        """
        if not self.with_unet:
            return ()
        return self.folds or (() if self.choice is None else (self.inner_fold,))

    @property
    def networks(self) -> tuple[str, ...]:
        """Labels of the networks that are trained at the end."""
        return (SEARCHED, UNET) if self.with_unet else (SEARCHED,)

    @property
    def ensembles(self) -> tuple[str, ...]:
        """Labels of the rows of the final table.

        ``BOTH`` is one of them if there are folds that compare it with the others.
        """
        return (*self.networks, BOTH) if self.with_unet and self.folds else self.networks

    @property
    def members(self) -> tuple[int | None, ...]:
        """The fold of each member of an ensemble; None: the member without a fold of its own."""
        return self.folds or (None,)

    def choice_config(self, label: str, architecture: str, steps: Steps) -> TrainConfig:
        """A training of the choice, scored on the inner fold; the outer fold is not seen.

        Args:
            label: of the network.
            architecture: a genotype's path, or a preset.
            steps: its length.
        """
        return self._training(
            label, architecture, steps, {"fold": self.inner_fold, "left_out_fold": self.outer_fold}
        )

    def final_config(self, label: str, architecture: str, member: int | None) -> TrainConfig:
        """A final training.

        With a fold, that fold chooses the best epoch and the outer fold is not seen. Without, the
        outer fold only scores the last weights: it is validated on once, at the end.

        Args:
            label: of the network.
            architecture: a genotype's path, or a preset.
            member: its fold, or None.
        """
        split: dict[str, Any] = {"fold": self.outer_fold, "validate_every": self.final.epochs}
        if member is not None:
            split = {"fold": member, "left_out_fold": self.outer_fold}
        return self._training(label, architecture, self.final, split)

    def _training(self, label: str, architecture: str, steps: Steps, train: Mapping[str, Any]) -> TrainConfig:
        search = self.search
        values: dict[str, Any] = {
            "dataset": search.dataset,
            "plan": search.plan.model_dump(),
            "network": {
                "architecture": architecture,
                "label": label,
                "base_channels": search.space.base_channels,
            },
            "train": {"seed": search.search.seed, **steps.model_dump(), **train},
            "runtime": {**search.runtime.model_dump(), "devices": 1},
        }
        config: TrainConfig = TrainConfig.parse(values, "auto: train")
        return config
