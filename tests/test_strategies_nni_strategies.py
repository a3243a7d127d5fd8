"""NNI's own strategies on the space: the one-shot ones train it, the multi-trial ones submit samples of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import nni
import pytest
import torch

from search_space import nni_first  # noqa: F401  # isort: skip
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import ModelStatus, RawFormatModelSpace, SimplifiedModelSpace
from nni.nas.strategy import (
    DARTS,
    GridSearch,
    GumbelDARTS,
    Proxyless,
    Random,
    RandomOneShot,
    RegularizedEvolution,
)
from nni.nas.strategy.base import Strategy
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import SearchSpaceConfig, UserError, UXNet, UXNetSpace
from search_space.grid import Edge, live_edges
from uxnet_eval.nni_guards import keep_urls_in_messages

torch.set_num_threads(1)

CONFIG = SearchSpaceConfig(
    spatial_dims=3, levels=3, base_channels=1, normal_candidates=("conv3", "2xconv3", "pseudo3d")
)
TWO_LEVELS = SearchSpaceConfig(
    spatial_dims=2,
    levels=2,
    base_channels=1,
    normal_candidates=("conv3", "2xconv3"),
    reduction_candidates=("max_pool",),
    expansion_candidates=("interpolate",),
)


class Segmentation(LightningModule):
    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(config: SearchSpaceConfig) -> Any:
    images = torch.randn(2, config.in_channels, *(8,) * config.spatial_dims)
    return DataLoader(list(zip(images, (images[:, 0] > 0).long(), strict=True)), batch_size=1)


def check_sample(config: SearchSpaceConfig, sample: dict[str, Any], found: nn.Module) -> UXNet | None:
    """The network of the sample's genotype with the weights of ``found``, the model that NNI made of the sample.

    None, after a look at the error, if the sample cuts the output off from the input.
    """
    space = UXNetSpace(config)
    assert set(sample) == set(space.simplify())
    kept = [Edge.parse(label) for label, chosen in sample.items() if "-" in label and chosen == [1]]
    live = live_edges(space.grid, kept)
    if not live:
        with pytest.raises(UserError, match="no path of edges leads from"):
            space.genotype(sample)
        return None
    genotype = space.genotype(sample)
    assert set(genotype.edges) == live
    assert all(sample[str(layer)] == name for layer, name in genotype.operations.items())
    network = UXNet(config, genotype)
    missing, _ = network.load_state_dict(found.state_dict(), strict=False)  # left over: what is dead
    assert missing == []
    return network


@pytest.mark.parametrize(
    "strategy",
    [DARTS, GumbelDARTS, Proxyless, RandomOneShot],
    ids=lambda strategy: strategy.__name__,
)
@pytest.mark.filterwarnings("ignore:Direct export from RandomOneShot returns an arbitrary architecture")
def test_one_shot_strategy(strategy: Callable[..., Strategy]) -> None:
    torch.manual_seed(3)
    random.seed(3)
    trainer = Trainer(
        # RandomOneShot's draws have no seed, and two in five cut the head off from the image, so that
        # nothing is learnt: two steps an epoch, all 40 draws cut off is less likely than 1e-15.
        max_epochs=20 if strategy is RandomOneShot else 2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    space = UXNetSpace(CONFIG)
    head = space.head.weight.clone()
    search = strategy(**({} if strategy is RandomOneShot else {"arc_learning_rate": 0.1}))
    search(
        RawFormatModelSpace(space, Lightning(Segmentation(), trainer, loader(CONFIG), loader(CONFIG))),
        SequentialExecutionEngine(),
    )
    assert trainer.global_step > 0
    assert not torch.equal(search.supernet.head.weight, head)  # it has trained
    (found,) = search.list_models()
    check_sample(CONFIG, found.sample, found.executable_model())


@pytest.mark.parametrize("strategy", [DARTS, GumbelDARTS, Proxyless], ids=lambda strategy: strategy.__name__)
def test_differentiable_strategies_export_what_they_learnt(strategy: Callable[..., Strategy]) -> None:
    """One sample is enough to see that every label of the space carries over: the alphas are set by hand."""
    space = UXNetSpace(CONFIG)
    search = strategy()
    search.mutate_model(space)
    wanted = {"N0.0-N0.2": 0, "N1.0/normal": 2}
    with torch.no_grad():
        for label, parameter in search._arch_parameters.items():
            parameter.zero_()
            parameter[wanted.get(label, 1)] = 50.0  # Proxyless samples also in its export
    exported: dict[str, Any] = {}
    for module in space.modules():
        if hasattr(module, "export") and hasattr(module, "arch_parameters"):
            exported.update(module.export(exported))
    genotype = UXNetSpace(CONFIG).genotype(exported)
    assert len(genotype.edges) == 10 and Edge.parse("N0.0-N0.2") not in genotype.edges
    operations = {str(layer): name for layer, name in genotype.operations.items()}
    assert operations["N1.0/normal"] == "pseudo3d"
    assert {name for layer, name in operations.items() if layer != "N1.0/normal"} == {
        "2xconv3", "avg_pool", "interpolate",
    }  # fmt: skip


def image_for(config: SearchSpaceConfig) -> Tensor:
    return torch.randn(
        1, config.in_channels, *(8,) * config.spatial_dims, generator=torch.Generator().manual_seed(0)
    )


def report_loss(model: nn.Module, config: SearchSpaceConfig) -> None:
    """A trial: how well the untrained model does."""
    image = image_for(config)
    nni.report_final_result(-F.cross_entropy(model(image), (image[:, 0] > 0).long()).item())


def report_size(model: nn.Module, config: SearchSpaceConfig) -> None:
    """A trial whose metric differs from model to model."""
    nni.report_final_result(sum(parameter.numel() for parameter in model.parameters()))


def run(
    strategy: Strategy, config: SearchSpaceConfig, max_models: int, trial: Callable[..., None] = report_loss
) -> list[SimplifiedModelSpace]:
    """The models that a multi-trial strategy has submitted, each run in this process.

    As in an experiment of NNI's the strategy sees the simplified space, and every trial builds its model anew.
    (On a ``RawFormatModelSpace`` NNI's GridSearch hands out one and the same sample over and over.)
    """
    torch.manual_seed(0)
    space = SimplifiedModelSpace.from_model(UXNetSpace(config), FunctionalEvaluator(trial, config=config))
    with keep_urls_in_messages():
        strategy(space, SequentialExecutionEngine(max_model_count=max_models))
    models = list(strategy.list_models(sort=False))
    assert all(model.status == ModelStatus.Trained for model in models)
    best, *others = strategy.list_models(sort=True)
    assert best.metric >= max((model.metric for model in others), default=-math.inf)
    return models


def num_valid(config: SearchSpaceConfig, models: list[SimplifiedModelSpace]) -> int:
    """How many of the models reach the output; each of these is the fixed network of its genotype."""
    valid = 0
    for model in models:
        found = model.executable_model()
        network = check_sample(config, model.sample, found)
        if network is not None:
            valid += 1
            # NNI's model computes dead branches as well; with norms as they start, those add exactly nothing.
            torch.testing.assert_close(
                network(image_for(config)), found(image_for(config)), rtol=0, atol=1e-5
            )
    return valid


def num_distinct(models: list[SimplifiedModelSpace]) -> int:
    return len({str(sorted(model.sample.items())) for model in models})


@pytest.mark.parametrize(
    "strategy",
    [Random(seed=1), RegularizedEvolution(population_size=4, sample_size=2, mutation_prob=0.3, seed=1)],
    ids=lambda strategy: type(strategy).__name__,
)
def test_multi_trial_strategy(strategy: Strategy) -> None:
    models = run(strategy, CONFIG, max_models=8)
    assert len(models) == num_distinct(models) == 8
    assert num_valid(CONFIG, models) > 0


def test_evolution_mutates_its_best() -> None:
    strategy = RegularizedEvolution(population_size=4, sample_size=4, mutation_prob=0.1, seed=2)
    models = run(strategy, CONFIG, max_models=5, trial=report_size)
    parent = max(models[:4], key=lambda model: model.metric).sample
    changed = [label for label in parent if models[4].sample[label] != parent[label]]
    assert 0 < len(changed) < len(parent) / 2


def test_grid_search_tries_everything() -> None:
    """3 edges and 3 normal layers with two candidates each: 64 models, of which 5/8 reach the output.

    With N0.0-N1.0 all four, without it only N0.0-N0.1 together with N0.1-N1.0.
    """
    models = run(GridSearch(seed=0), TWO_LEVELS, max_models=100)
    assert len(models) == num_distinct(models) == 64
    assert num_valid(TWO_LEVELS, models) == 40


def test_grid_search_begins_on_a_space_too_large_to_finish() -> None:
    models = run(GridSearch(seed=0), CONFIG, max_models=3)
    assert len(models) == num_distinct(models) == 3


def test_models_travel_to_their_trials() -> None:
    """What the manager sends to a trial's process is the sample and how to build the space."""
    (model,) = run(Random(seed=3), CONFIG, max_models=1)
    with keep_urls_in_messages():
        received = nni.load(nni.dump(model))
    assert received.sample == model.sample
    one, other = received.executable_model(), model.executable_model()
    other.load_state_dict(one.state_dict(), strict=True)
    assert torch.equal(one(image_for(CONFIG)), other(image_for(CONFIG)))
