"""A real, tiny Lightning run of SparseDARTS, with a look at everything before and after each of its steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from search_space import nni_first  # noqa: F401  # isort: skip
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import SearchSpaceConfig, UXNetSpace
from strategies import SparseDARTS, StrategySettings
from strategies.bilevel_steps import SparseDartsModule

torch.set_num_threads(1)

SMALL = SearchSpaceConfig(spatial_dims=2, levels=2, base_channels=2)  # 3 edges, 3 + 1 + 1 layers
THREE_LEVELS = SearchSpaceConfig(
    spatial_dims=2, levels=3, base_channels=2, normal_candidates=("conv3", "conv5")
)  # 11 edges

OPEN = math.log(3)
"""A beta whose gate is 3/4; there dJ/dbeta = -3/32 (worked out in the tests of the gates)."""


def segmentation(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target)


def nothing(logits: Tensor, target: Tensor) -> Tensor:
    """A loss that does not depend on the network, so that all its gradients are zero."""
    return 0.0 * logits.sum()


class Segmentation(LightningModule):
    """The evaluator's module: one step of segmentation, as a user would write it."""

    def __init__(
        self, loss: Callable[[Tensor, Tensor], Tensor] = segmentation, weight_decay: float = 0.0
    ) -> None:
        super().__init__()
        self.loss = loss
        self.weight_decay = weight_decay
        self.num_validated = 0

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        image, target = batch
        return self.loss(self.model(image), target)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.num_validated += len(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2, weight_decay=self.weight_decay)


@dataclass
class Snapshot:
    """Values before or after a step; gradients of the weights as ``id`` and copy."""

    epoch: int
    weights: list[Tensor]
    alphas: list[Tensor]
    betas: list[Tensor]
    gradients: list[Tensor | None]


@dataclass
class Step:
    """One architecture or weight step."""

    kind: str
    before: Snapshot
    after: Snapshot
    learning_rates: dict[str, float] = field(default_factory=dict)
    gradients: dict[str, list[Tensor]] = field(default_factory=dict)
    """Of alpha and beta, as the step has left them."""

    def moved(self, what: str) -> bool:
        pairs = zip(getattr(self.before, what), getattr(self.after, what), strict=True)
        return any(not torch.equal(a, b) for a, b in pairs)


def copies(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


class Recorded(SparseDartsModule):
    """The strategy's own module, with a look at everything before and after each of its two steps."""

    steps: list[Step]

    def _snapshot(self) -> Snapshot:
        weights = self._weights()
        gradients = [None if p.grad is None else p.grad.clone() for p in weights]
        return Snapshot(
            self.trainer.current_epoch,
            copies(weights),
            copies(self.alphas()),
            copies(self.betas()),
            gradients,
        )

    def _recorded(self, kind: str, run: Callable[[], Any]) -> Any:
        before = self._snapshot()
        result = run()
        step = Step(kind, before, self._snapshot())
        step.gradients = {
            name: [p.grad.clone() for p in parameters if p.grad is not None]
            for name, parameters in (("alpha", self.alphas()), ("beta", self.betas()))
        }
        if kind == "architecture":
            step.learning_rates = {g["name"]: g["lr"] for g in self.architecture_optimizers().param_groups}
        self.steps.append(step)
        return result

    def _architecture_step(self, batch: Any, batch_idx: int) -> None:
        self._recorded("architecture", lambda: super(Recorded, self)._architecture_step(batch, batch_idx))

    def _weight_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._recorded("weights", lambda: super(Recorded, self)._weight_step(batch, batch_idx))


class RecordedDARTS(SparseDARTS):
    def configure_oneshot_module(self, training_module: LightningModule) -> SparseDartsModule:
        module = Recorded(training_module, self.settings)
        module.steps = []
        return module

    def steps(self, kind: str | None = None) -> list[Step]:
        return [step for step in self.module.steps if kind in (None, step.kind)]


def batches(config: SearchSpaceConfig, num_images: int, seed: int, poison: bool = False) -> Any:
    """Batches of two random images, whose classes can be seen in them."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num_images, config.in_channels, *(8,) * config.spatial_dims, generator=generator)
    targets = (images[:, 0] > 0).long()
    if poison:
        images[-1, 0, 0, 0] = torch.nan
    return DataLoader(list(zip(images, targets, strict=True)), batch_size=2)


def prepare(
    config: SearchSpaceConfig = SMALL,
    *,
    epochs: int = 1,
    num_images: int = 4,
    loss: Callable[[Tensor, Tensor], Tensor] = segmentation,
    weight_decay: float = 0.0,
    beta: float | None = None,
    poison: bool = False,
    validation_dataloaders: Any = None,
    **settings: Any,
) -> tuple[RecordedDARTS, Segmentation]:
    """A strategy that is ready to run on a space of ``config``; both halves hold ``num_images`` images.

    It searches as the paper does, without warm-up, unless ``settings`` say otherwise.
    """
    torch.manual_seed(0)
    module = Segmentation(loss, weight_decay)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    evaluator = Lightning(
        module, trainer, batches(config, num_images, 1, poison), batches(config, num_images, 2)
    )
    chosen = StrategySettings.paper(**({"warmup_epochs": 0, "gradient_clip_norm": None} | settings))
    strategy = RecordedDARTS(chosen, validation_dataloaders=validation_dataloaders)
    strategy.initialize(RawFormatModelSpace(UXNetSpace(config), evaluator), SequentialExecutionEngine())
    strategy.module.set_model(strategy.supernet)
    if beta is not None:
        for parameter in strategy.module.betas():
            nn.init.constant_(parameter, beta)
    return strategy, module


def search(*args: Any, **kwargs: Any) -> RecordedDARTS:
    strategy, _ = prepare(*args, **kwargs)
    strategy.run()
    return strategy
