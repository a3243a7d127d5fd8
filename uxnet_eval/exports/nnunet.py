"""Plans with which nnU-Net v2 trains an architecture, and weights to start from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_space import Genotype, UXNet
from search_space.errors import UserError
from search_space.nnunet_network import UXNetForNNUNet
from search_space.replacing import replacing

from ..architectures.architecture import Architecture
from ..networks.width import shapes_alone
from ..planning.nnunet_plans import NNUNetPlans

DIMENSION_KEY = "spatial_dims"
"""Key of a genotype's provenance: the dimensions in which it was searched."""


def check_fit(genotype: Genotype, plans: NNUNetPlans) -> None:
    """Raises :class:`UserError` unless a genotype fits the levels and dimensions of the plans."""
    where = f"{plans.path}: configuration {plans.name}"
    again = f"search on these plans: uxnet plan DATA --like {plans.path} --configuration {plans.name} -o X.run.yml"
    searched_dims = genotype.provenance.get(DIMENSION_KEY, plans.plan.spatial_dims)
    if searched_dims != plans.plan.spatial_dims:
        raise UserError(
            f"{where} is {plans.plan.spatial_dims}-D, the genotype was searched in {searched_dims}-D; {again}"
        )
    if genotype.levels != plans.plan.levels:
        raise UserError(f"{where} has {plans.plan.levels} levels, the genotype {genotype.levels}; {again}")


def nnunet_plans(
    genotype: Genotype,
    plans: NNUNetPlans,
    plans_name: str,
    *,
    base_channels: float,
    max_channels: int,
) -> dict[str, Any]:
    """The content of a plans file by which nnU-Net trains a genotype on preprocessed data.

    Args:
        genotype: the architecture.
        plans: nnU-Net's own, whose patch, spacing, strides and preprocessed data are kept.
        plans_name: of the new plans, and of their file.
        base_channels, max_channels: the width.

    Raises:
        UserError: if the genotype has other levels or dimensions.
    """
    check_fit(genotype, plans)
    network = shapes_alone(Architecture("genotype", genotype), plans.plan, 1, 2, base_channels, max_channels)
    assert isinstance(network, UXNet)
    architecture = {
        "network_class_name": f"{UXNetForNNUNet.__module__}.{UXNetForNNUNet.__qualname__}",
        "arch_kwargs": {
            "genotype": {**genotype.to_dict(), "provenance": {}},
            "features_per_stage": [network.config.channels(level) for level in range(genotype.levels)],
            "strides": plans.strides,
            "axes": list(plans.axes),
        },
        "_kw_requires_import": [],
    }
    return {
        **plans.values,
        "plans_name": plans_name,
        "configurations": {plans.name: {**plans.configuration, "architecture": architecture}},
    }


def write_nnunet_plans(path: Path, values: Mapping[str, Any]) -> None:
    """Writes plans, whole or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(values, indent=4) + "\n", encoding="utf-8")


def nnunet_weights(
    weights: Mapping[str, Tensor], values: Mapping[str, Any], configuration: str, num_channels: int
) -> dict[str, Any]:
    """The weights of a training without the heads, for ``nnUNetv2_train -pretrained_weights``.

    Args:
        weights: the network's state dict.
        values: of :func:`nnunet_plans`.
        configuration: of the plans.
        num_channels: of the image.

    Raises:
        UserError: if the network has other weights than nnU-Net would build from these plans.
    """
    kwargs = values["configurations"][configuration]["architecture"]["arch_kwargs"]
    with torch.device("meta"):
        network = UXNetForNNUNet(num_channels, 2, **kwargs)
    wanted = {name: x for name, x in network.state_dict().items() if not name.startswith("decoder.")}
    for name, value in wanted.items():
        if name not in weights or weights[name].shape != value.shape:
            raise UserError(f"weight {name} does not fit the plans; export with the width of the training")
    return {"network_weights": {name: weights[name].detach().cpu().clone() for name in wanted}}


def next_steps(plans: NNUNetPlans, output: Path, weights: Path | None) -> Sequence[str]:
    """The commands that train and predict with the new plans."""
    dataset, name = plans.values["dataset_name"], output.stem
    start = "" if weights is None else f" -pretrained_weights {weights}"
    return (
        f"next: put {output.name} into nnU-Net's preprocessed folder of {dataset}, then:",
        f"  nnUNetv2_train {dataset} {plans.name} 0 -p {name}{start}",
        f"  nnUNetv2_predict -d {dataset} -c {plans.name} -f 0 -p {name} -i IMAGES -o LABELS",
    )
