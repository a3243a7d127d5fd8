"""The steps of NNI's differentiable strategies, so that a stopped search goes on as if it had not.

NNI 3.0 lacks three things for this. Its draws depend on all that was drawn before; here they depend
on seed, epoch and step. It orders the architecture's parameters by their address in memory, and a
resumed optimizer would mix up their moments; here they have the order of the modules. It never
validates.
"""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from typing import Any

import numpy as np
import torch
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule, GumbelDartsLightningModule
from nni.nas.oneshot.pytorch.supermodule.differentiable import (
    DifferentiableMixedInput,
    DifferentiableMixedLayer,
)
from torch import Tensor, nn

from ..finite import check_finite


class ResumableDartsModule(DartsLightningModule):
    """NNI's two steps, one batch each: first the architecture, then the weights.

    Args:
        training_module: the evaluator's module, which computes the loss.
        seed: of all draws.
        settings: NNI's arguments.
    """

    def __init__(self, training_module: Any, *args: Any, seed: int, **settings: Any) -> None:
        super().__init__(training_module, *args, **settings)
        self.seed = seed

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        epoch = self.trainer.current_epoch
        (seed,) = np.random.SeedSequence((self.seed, epoch, batch_idx)).generate_state(1)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(seed))
            loss: Tensor = super().training_step(batch, batch_idx)
        check_finite(loss, "the loss is", epoch)
        self.log("loss/weights", loss.detach(), prog_bar=True)
        return loss.detach()

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """The result of the evaluator's module."""
        return self.training_module.validation_step(batch, batch_idx)

    def arch_parameters(self) -> list[nn.Parameter]:
        """The parameters of all choices, each once, in the order of the modules."""
        found = [
            parameter
            for module in self.supernet_modules()
            for parameter in module.arch_parameters()  # type: ignore[operator]
        ]
        return list(dict.fromkeys(found))

    def log_probs(self, probs: Any) -> None:
        """Nothing: the reporter of the search writes the probabilities at each validation."""


class ResumableGumbelModule(ResumableDartsModule, GumbelDartsLightningModule):
    """The same with draws of Gumbel softmax, whose temperature falls linearly."""


class ResumableProxylessModule(ResumableDartsModule):
    """The same with one drawn path; a validation takes the likeliest path."""

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        likeliest: dict[str, Any] = {}
        for module in self.supernet_modules():  # Proxyless draws in its own export
            kinds = (DifferentiableMixedLayer, DifferentiableMixedInput)
            kind = next(kind for kind in kinds if isinstance(module, kind))
            likeliest.update(kind.export(module, likeliest))
        for module in self.supernet_modules():
            module.resample(likeliest)
        return super().validation_step(batch, batch_idx)
