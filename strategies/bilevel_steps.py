"""The bi-level steps of SparseDARTS (section 2), in the phases of :mod:`strategies.phases`."""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule
from torch import Tensor, nn

from .expected_cost import ExpectedCost
from .finite import check_finite
from .gates import SigmoidGate, sparsity
from .mixed_layer import MixedLayer
from .phases import Phase
from .processes import average_gradients
from .sampling import open_or_close, sampled_edges, sampled_operations, step_generator
from .settings import StrategySettings
from .supernet import SearchableSpace


class SparseDartsModule(DartsLightningModule):
    """The two steps of the search, one batch each: first the architecture, then the weights.

    The architecture step minimises loss(architecture half) + sparsity_weight * J + edge_weight *
    expected edges + cost_weight * expected cost over alpha and beta. The network weights are fixed
    (first order). The weight step minimises loss(weight half) over the weights; alpha and beta are
    fixed. Neither step computes a gradient that it does not use.

    Args:
        training_module: the evaluator's module, which computes the loss.
        settings: all settings of the search.
    """

    def __init__(self, training_module: LightningModule, settings: StrategySettings) -> None:
        super().__init__(
            training_module,
            warmup_epochs=settings.warmup_epochs,
            gradient_clip_val=settings.gradient_clip_norm,
        )
        self.settings = settings
        self.gates: dict[str, SigmoidGate] = {}
        self.mixed_layers: dict[str, MixedLayer] = {}
        self._cost: ExpectedCost | None = None

    def set_model(self, model: Any) -> None:
        """Takes the supernet; NNI's evaluator calls this before it trains."""
        super().set_model(model)
        # Plain dictionaries: the modules are already registered as parts of the model.
        self.gates = {str(m.label): m for m in model.modules() if isinstance(m, SigmoidGate)}
        self.mixed_layers = {str(m.label): m for m in model.modules() if isinstance(m, MixedLayer)}
        if self.settings.cost_weight > 0:
            self._cost = ExpectedCost(model)

    @property
    def phase(self) -> Phase:
        """The current phase of the search."""
        return Phase(self.settings, self.trainer.current_epoch, self.trainer.max_epochs or 1)

    def alphas(self) -> list[nn.Parameter]:
        """The parameters alpha of the layers' softmax, (K,) each."""
        return [layer._arch_alpha for layer in self.mixed_layers.values()]

    def betas(self) -> list[nn.Parameter]:
        """The parameters beta of the gates, scalars."""
        return [gate.beta for gate in self.gates.values()]

    def arch_parameters(self) -> list[nn.Parameter]:
        return self.alphas() + self.betas()

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        """Adam with one group for alpha and one for beta.

        It has no weight decay, which would pull gates to 0.5.

        Raises:
            ValueError: if the space has neither a mixed layer nor a gate.
        """
        groups = [
            {"params": params, "lr": rate, "name": name}
            for name, params, rate in (
                ("alpha", self.alphas(), self.settings.alpha_learning_rate),
                ("beta", self.betas(), self.settings.beta_learning_rate),
            )
            if params
        ]
        if not groups:
            raise ValueError("nothing to search: the space has neither a mixed layer nor a gate")
        # 0.5 is the value of NNI's DARTS. Sampled edges make the gradient noisier, so it is
        # averaged over more steps.
        first_beta = 0.9 if self.settings.sample_edges else 0.5
        return torch.optim.Adam(groups, betas=(first_beta, 0.999), weight_decay=0.0)

    def regulariser(self) -> Tensor:
        """J over all gates, a scalar with its gradient in [-0.25, 0]; 0 if no edge is searched."""
        betas = self.betas()
        return sparsity(torch.stack([*betas])) if betas else torch.zeros((), device=self.device)

    def expected_edges(self) -> Tensor:
        """The expected fraction of edges that are present, in [0, 1]; 0 if no edge is searched."""
        betas = self.betas()
        return torch.sigmoid(torch.stack([*betas])).mean() if betas else torch.zeros((), device=self.device)

    def expected_cost(self) -> Tensor:
        """Expected multiply-adds under the layers' softmax and the gates, relative to the start.

        0 if ``cost_weight`` is 0.
        """
        if self._cost is None:
            return torch.zeros((), device=self.device)
        gates = {label: gate.gate() for label, gate in self.gates.items()}
        weights = {label: layer.weights() for label, layer in self.mixed_layers.items()}
        return torch.as_tensor(self._cost(gates, weights) / self._cost.at_the_start(), device=self.device)

    def cost_penalty(self) -> Tensor:
        """What ``cost_weight`` multiplies: the expected cost, or its excess over the target."""
        cost, target = self.expected_cost(), self.settings.cost_target
        return cost if target is None else torch.relu(cost / target - 1)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        # NNI calls the architecture half "val"; it validates nothing here.
        weight_batch, architecture_batch = batch["train"], batch["val"]
        if self.phase.has_architecture_steps(searches_edges=bool(self.gates)):
            self._architecture_step(architecture_batch, batch_idx)
        return self._weight_step(weight_batch, batch_idx)

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """The backward pass; several processes then have the mean of their gradients."""
        super().manual_backward(loss, *args, **kwargs)
        average_gradients(parameter for parameter in self.parameters() if parameter.requires_grad)

    def _architecture_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.architecture_optimizers()
        phase = self.phase
        for group in optimizer.param_groups:
            name = group["name"]
            group["lr"] = phase.alpha_learning_rate() if name == "alpha" else phase.beta_learning_rate()
            self.log(f"learning_rate/{name}", group["lr"])
        with _fixed(self._weights()), self._sampled_edges(2 * batch_idx):
            loss = self._loss(batch, 2 * batch_idx)
            penalty = self.regulariser()
            total = loss + phase.sparsity_weight * penalty + self.settings.edge_weight * self.expected_edges()
            if self.settings.cost_weight > 0:
                total = total + self.settings.cost_weight * self.cost_penalty()
                self.log("loss/expected_cost", self.expected_cost().detach())
            optimizer.zero_grad()
            self.manual_backward(total)
        optimizer.step()
        self._open_or_close_edges()
        self.log("loss/architecture", loss.detach())
        self.log("loss/sparsity", penalty.detach())

    def _weight_step(self, batch: Any, batch_idx: int) -> Tensor:
        step = 2 * batch_idx + 1
        with _fixed(self.arch_parameters()), self._sampled_edges(step), self._sampled_operations(step):
            loss = self._loss(batch, 2 * batch_idx + 1)
            self.advance_optimization(loss, batch_idx, self.gradient_clip_val, "norm")
        self.advance_lr_schedulers(batch_idx)
        self.log("loss/weights", loss.detach(), prog_bar=True)
        return loss.detach()

    def _loss(self, batch: Any, batch_idx: int) -> Tensor:
        result = self.training_module.training_step(batch, batch_idx)
        loss = result["loss"] if isinstance(result, dict) else result
        check_finite(loss, "the loss is", self.trainer.current_epoch)
        return loss

    def _weights(self) -> list[nn.Parameter]:
        architecture = {id(p) for p in self.arch_parameters()}
        return [p for p in self.training_module.parameters() if id(p) not in architecture]

    def _sampled_edges(self, step: int) -> AbstractContextManager[None]:
        if not self.settings.sample_edges or not self.gates or self.phase.is_committed:
            return nullcontext()
        space, generator = (
            self._space,
            step_generator(self.settings.seed, self.trainer.current_epoch, step, 0),
        )
        return sampled_edges(space.grid, self.gates, self.phase.warmth, space.fixed_edges, generator)

    def _sampled_operations(self, step: int) -> AbstractContextManager[None]:
        if not self.settings.sample_operations or self.phase.is_committed:
            return nullcontext()
        generator = step_generator(self.settings.seed, self.trainer.current_epoch, step, 1)
        return sampled_operations(self.mixed_layers, self.phase.warmth, generator)

    def _open_or_close_edges(self) -> None:
        """Once committed, opens or closes edges as in the derived network, but without rule (b)."""
        if self.phase.is_committed:
            values = {label: gate.gate().item() for label, gate in self.gates.items()}
            space = self._space
            open_or_close(space.grid, self.gates, values, self.settings.prune_threshold, space.fixed_edges)

    @property
    def _space(self) -> SearchableSpace:
        space: SearchableSpace = self.model
        return space

    def on_train_epoch_start(self) -> None:
        phase = self.phase
        for layer in self.mixed_layers.values():
            layer.temperature = phase.temperature
            layer.chosen = layer.leading() if phase.is_committed else None
        self._open_or_close_edges()
        # This skips NNI's DARTS, which switches requires_grad per epoch; here each step does.
        self.training_module.on_train_epoch_start()

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """The result of the evaluator's module; NNI's DARTS never validates."""
        return self.training_module.validation_step(batch, batch_idx)


@contextmanager
def _fixed(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """A context in which no gradient is computed for ``parameters``."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
