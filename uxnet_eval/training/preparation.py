"""Checks what a training needs before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search_space.errors import UserError

from ..architectures.architecture import Architecture, find_architecture
from ..config.training import TrainConfig
from ..dataset.find import find_dataset
from ..dataset.folds import split_fold
from ..dataset.msd import Case, Dataset, read_dataset
from ..networks.build import build_network, offers_deep_supervision
from ..networks.checkpoint import save_model
from ..networks.cost import Cost, network_cost
from ..networks.width import choose_base_channels, shapes_alone
from ..recipe.precision import channels_last
from .module import TrainModule


@dataclass(frozen=True)
class Training:
    """A checked training: everything it needs exists and fits together."""

    config: TrainConfig
    dataset: Dataset
    learned: tuple[Case, ...]
    held_out: tuple[Case, ...]
    architecture: Architecture
    base_channels: float
    cost: Cost
    deep_supervision: bool
    folder: Path

    def new_module(self) -> TrainModule:
        """The network with random weights and the recipe to train it by."""
        config, dataset = self.config, self.dataset
        network = build_network(
            self.architecture,
            config.plan,
            dataset.num_channels,
            dataset.num_classes,
            base_channels=self.base_channels,
            max_channels=config.network.max_channels,
            deep_supervision=self.deep_supervision,
        )
        if config.runtime.channels_last:
            network = network.to(memory_format=channels_last(config.plan.spatial_dims))
        return TrainModule(
            network,
            config.plan,
            dataset.class_names,
            config.train,
            channels_last=config.runtime.channels_last,
        )

    def save(self, name: str, module: TrainModule, scores: Mapping[str, float]) -> None:
        """Writes the validated weights as the file ``name`` of the output folder."""
        save_model(
            self.folder / name,
            weights=module.validated_network.state_dict(),
            architecture=self.architecture,
            base_channels=self.base_channels,
            config=self.config,
            dataset=self.dataset,
            scores=scores,
        )


def prepare(config: TrainConfig, folder: Path, beside: Path) -> Training:
    """The training that a configuration describes; nothing is written.

    Args:
        config: resolved.
        folder: the output folder.
        beside: the configuration's own folder.

    Raises:
        UserError: if the run cannot work: data, genotype, width and plan do not exist or do not fit
            together.
    """
    dataset = read_dataset(find_dataset(config.dataset, beside=beside))
    plan, network, split = config.plan, config.network, config.train
    if dataset.spatial_dims != plan.spatial_dims:
        raise UserError(
            f"{dataset.folder}: has {dataset.spatial_dims} spatial dimensions, the plan {plan.spatial_dims}; "
            "make a plan for this data set with uxnet plan"
        )
    learned, held_out = split_fold(
        dataset,
        fold=split.fold,
        num_folds=split.num_folds,
        seed=split.split_seed,
        left_out=split.left_out_fold,
    )
    if not learned or not held_out:
        raise UserError(
            f"{dataset.folder}: without the cases of the left-out fold {split.left_out_fold}, fold {split.fold} has "
            f"{len(learned)} cases to learn from and {len(held_out)} to validate on, expected some of each; give "
            "another fold"
        )
    architecture = find_architecture(
        network.architecture,
        plan.levels,
        beside,
        searched=network.genotype,
        spatial_dims=plan.spatial_dims,
    )
    base_channels = choose_base_channels(
        architecture, network, plan, dataset.num_channels, dataset.num_classes
    )
    shapes = shapes_alone(
        architecture, plan, dataset.num_channels, dataset.num_classes, base_channels, network.max_channels
    )
    supervised = network.deep_supervision
    if supervised == "auto":
        supervised = offers_deep_supervision(architecture, plan)
    return Training(
        config=config,
        dataset=dataset,
        learned=learned,
        held_out=held_out,
        architecture=architecture,
        base_channels=base_channels,
        cost=network_cost(shapes, plan, dataset.num_channels),
        deep_supervision=supervised,
        folder=folder,
    )
