"""A short training from random weights is that of ``uxnet train``."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from uxnet_eval.config.plan import Plan
from uxnet_eval.config.search import RunConfig
from uxnet_eval.recipe.trainer import trainer_settings
from uxnet_eval.search.data import SearchData
from uxnet_eval.search.short_training import ShortTraining, fine_tuning, from_random_weights
from uxnet_eval.training.module import TrainModule

STEPS = 8
PLAN = Plan(spacing_mm=(1, 1), patch_size=(16, 16), strides=((2, 2),), batch_size=2, spatial_dims=2)
CONFIG = RunConfig.model_validate(
    {"dataset": "absent", "plan": PLAN.model_dump(), "runtime": {"channels_last": False}}
)


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))


def make_batches() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(STEPS, 2, 1, 16, 16, generator=generator)
    return [{"image": image, "label": (image > 0).long()} for image in images]


def briefly_trained(monkeypatch: pytest.MonkeyPatch, settings: Any, network: nn.Module) -> Tensor:
    """The logits of the first image by the network that a short training scores."""
    image, found = make_batches()[0]["image"], []

    def dice(self: ShortTraining, scored: Any) -> float:
        found.append(scored(image))
        return 0.5

    monkeypatch.setattr(ShortTraining, "dice", dice)
    data = cast(SearchData, SimpleNamespace(patches=lambda num_steps, stream: make_batches()[:num_steps]))
    training = ShortTraining(CONFIG, data, torch.device("cpu"), "32-true")
    assert training.trained_dice(network, settings) == 0.5
    return found[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_from_random_weights_it_is_the_training_of_uxnet_train(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = from_random_weights(STEPS, 1e-2)
    short = briefly_trained(monkeypatch, settings, make_network())
    module = TrainModule(make_network(), PLAN, ("none", "a"), settings, channels_last=False)
    trainer = pl.Trainer(
        max_epochs=1,
        limit_val_batches=0,
        enable_checkpointing=False,
        **trainer_settings(torch.device("cpu"), "32-true", None),
    )
    trainer.fit(module, train_dataloaders=DataLoader(make_batches(), batch_size=None))
    module.eval()
    torch.testing.assert_close(short, module.validated_network(make_batches()[0]["image"]))
    last = module.network(make_batches()[0]["image"])
    assert not torch.allclose(short, last, atol=1e-3)  # the averaged weights are scored


def test_from_shared_weights_it_goes_on_as_they_were_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = fine_tuning(CONFIG)
    assert settings.weight_decay == CONFIG.search.weight_decay and not settings.ema_decay
    network = make_network()
    start = deepcopy(network)
    short = briefly_trained(monkeypatch, settings.model_copy(update={"steps_per_epoch": STEPS}), network)
    image = make_batches()[0]["image"]
    torch.testing.assert_close(short, network(image))  # the last weights are scored
    assert not torch.allclose(short, start(image), atol=1e-3)
