"""The sandwich rule: which networks learn in a step, from what, and that it is refused where it has no meaning."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor

from search_space import Genotype, SearchSpaceConfig, UserError
from strategies.single_path.sampling import Sampler
from uxnet_eval.config.plan import Plan
from uxnet_eval.config.search import RunConfig
from uxnet_eval.recipe.loss import distillation_loss, segmentation_loss
from uxnet_eval.search.single_path_module import SinglePathModule, anchor_of, shared_weights

SPACE = SearchSpaceConfig(
    spatial_dims=2,
    in_channels=1,
    num_classes=3,
    levels=3,
    base_channels=4,
    width_choices=(0.5, 1.0, 1.5),
    edge_scale=True,
    pass_through=True,
)


def module(*, sandwich: bool) -> SinglePathModule:
    torch.manual_seed(0)
    plan = Plan(
        spatial_dims=2, spacing_mm=(1.0, 1.0), patch_size=(16, 16), strides=((2, 2), (2, 2)), batch_size=2
    )
    return SinglePathModule(
        shared_weights(SPACE, supervised=True),
        Sampler(SPACE),
        lambda genotype: 0.0,
        anchor_of(SPACE),
        paths_per_step=1,
        seed=0,
        sandwich=sandwich,
        plan=plan,
        num_classes=3,
        learning_rate=1e-3,
        weight_decay=0.0,
        num_steps=1,
        channels_last=False,
    )


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 1, 16, 16, generator=generator)
    return image, torch.randint(0, 3, (2, 1, 16, 16), generator=generator)


def drawn() -> Genotype:
    genotype = Sampler(SPACE).draw(Random(1))
    return genotype.model_copy(update={"widths": (1.0, 0.5, 1.5)})


def at_width(factor: float) -> Genotype:
    return drawn().model_copy(update={"widths": (factor,) * 3})


def test_the_loss_is_the_mean_over_three_widths_and_the_narrower_learn_from_the_widest() -> None:
    searched, (image, label) = module(sandwich=True), batch()
    widest = searched(image, at_width(1.5))
    expected = segmentation_loss(widest, label)
    for narrower in (drawn(), at_width(0.5)):
        outputs = searched(image, narrower)
        expected = expected + segmentation_loss(outputs, label) + distillation_loss(outputs, widest)
    torch.testing.assert_close(searched._loss(image, label, drawn()), expected / 3)
    alone = module(sandwich=False)
    torch.testing.assert_close(
        alone._loss(image, label, drawn()), segmentation_loss(alone(image, drawn()), label)
    )


def test_every_channel_of_the_drawn_operations_learns() -> None:
    """Without the sandwich rule, channels beyond the drawn widths have no gradient."""
    image, label = batch()
    shares = []
    for sandwich in (False, True):
        searched = module(sandwich=sandwich)
        searched._loss(image, label, drawn()).backward()
        gradients = [
            searched.shared.supernet.get_parameter(name).grad
            for name in searched.shared._networks(drawn())[1].values()
        ]
        shares.append(sum(float((g != 0).float().mean()) for g in gradients if g is not None))
    assert shares[1] > shares[0]


def test_the_teacher_gets_no_gradient_and_equal_outputs_give_its_entropy() -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    own, teacher = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = distillation_loss([own], teacher)
    loss.backward()
    assert teacher.grad is None
    entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss.detach(), entropy)
    assert own.grad is not None
    torch.testing.assert_close(own.grad, torch.zeros_like(own), atol=1e-6, rtol=0)


def test_a_space_of_one_width_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.run.yml"
    path.write_text(
        "dataset: x\noutput: out\nplan: {spatial_dims: 2, spacing_mm: [1, 1], patch_size: [16, 16], "
        "strides: [[2, 2], [2, 2]], batch_size: 1}\nspace: {pass_through: true}\n"
        "search: {strategy: single-path}\nchoice: {sandwich: true}\n"
    )
    with pytest.raises(UserError, match="sandwich: the space has one width; give width_choices"):
        RunConfig.load(path)
