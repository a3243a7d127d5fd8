"""Real steps of search and training, timed on this machine and these data."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from types import TracebackType
from typing import Any

import numpy as np
import psutil
import torch
from nibabel.affines import voxel_sizes
from torch import Tensor, nn

from search_space import Genotype

from ..architectures.architecture import Architecture
from ..config.search import RunConfig
from ..config.training import NetworkSettings
from ..dataset.msd import Dataset, load_label
from ..evaluation.metrics import score_case
from ..networks.build import build_network, offers_deep_supervision
from ..preprocessing.patch_stream import PatchStream
from ..preprocessing.prepared_cases import PreparedCases
from ..recipe.loss import segmentation_loss
from ..recipe.precision import autocast, channels_last, resolve_device, resolve_precision
from ..recipe.validation import foreground_dice, segment
from ..recipe.weight_average import WeightAverage
from ..search.shared_training import prepare_measurement
from ..search.single_path_module import SinglePathModule

NUM_CASES = 4
"""Cases that are read for the timing, evenly spread over the set."""
NUM_STEPS, MIN_SECONDS = 4, 3.0
"""Timed steps of each kind are at least so many, and take at least so long."""
MAX_STEPS = 200
SAMPLED_EVERY_S = 0.02


@dataclass(frozen=True)
class Timing:
    """Seconds and memory of one width and patch.

    Attributes:
        search_step_s: of a step of the shared weights.
        searched_step_s: of a training step of a random network within the budget.
        unet_step_s: of a training step of the U-Net.
        validated_case_s: of segmenting a case by sliding windows, half overlapping.
        scored_case_s: of the metrics of a case.
        loaded_case_s: of reading and preparing a case.
        case_gib: memory of a prepared case.
        search_gib: peak memory of a step of the shared weights, the cases not counted.
        train_gib: peak memory of a training step, the cases not counted.
    """

    search_step_s: float
    searched_step_s: float
    unet_step_s: float
    validated_case_s: float
    scored_case_s: float
    loaded_case_s: float
    case_gib: float
    search_gib: float
    train_gib: float


class PeakMemory:
    """The most memory that was held within a ``with`` block: the GPU's, or the process'."""

    def __enter__(self) -> PeakMemory:
        self.gib = 0.0
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            return self
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if torch.cuda.is_available():
            self.gib = torch.cuda.max_memory_allocated() / 2**30
            return
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            self.gib = max(self.gib, process.memory_info().rss / 2**30)
            if self._ended.wait(SAMPLED_EVERY_S):
                return


def time_steps(config: RunConfig, dataset: Dataset) -> Timing:
    """Times each kind of step some times; writes nothing.

    Args:
        config: the search, of which space, plan and machine count.
        dataset: the whole data set.

    Raises:
        UserError: begins with the case id, if a file is at fault.
    """
    timer = StepTimer(config, dataset)
    module, limits, _ = prepare_measurement(config, dataset)
    with PeakMemory() as search_memory:
        search_step_s = timer.search_step_s(module.to(timer.device))
    within = limits[max(limits)].excess
    drawn = [module.sampler.draw(Random(f"timing/{number}"), within) for number in range(2)]
    anchor = module.anchor
    del module
    with PeakMemory() as train_memory:
        searched_step_s = float(np.mean([timer.training_step_s(genotype) for genotype in drawn]))
        unet_step_s = timer.training_step_s(anchor)
    return Timing(
        search_step_s=search_step_s,
        searched_step_s=searched_step_s,
        unet_step_s=unet_step_s,
        validated_case_s=timer.validated_case_s(drawn[0]),
        scored_case_s=timer.scored_case_s(),
        loaded_case_s=timer.loaded_case_s,
        case_gib=timer.case_gib,
        search_gib=search_memory.gib,
        train_gib=train_memory.gib,
    )


class StepTimer:
    """Times steps on a few cases of a data set, as they are prepared, cut and augmented.

    Args:
        config: of which space, plan and machine count.
        dataset: the whole data set.
    """

    def __init__(self, config: RunConfig, dataset: Dataset) -> None:
        self._config, self._dataset = config, dataset
        self.device = resolve_device(config.runtime.device)
        self._precision = resolve_precision(config.runtime.precision, self.device)
        self._layout = channels_last(config.plan.spatial_dims) if config.runtime.channels_last else None
        if config.runtime.num_threads:
            torch.set_num_threads(config.runtime.num_threads)
        at = np.linspace(0, len(dataset.cases) - 1, min(NUM_CASES, len(dataset.cases))).round().astype(int)
        cases = tuple(dataset.cases[index] for index in at)
        started = time.perf_counter()
        self._cases = PreparedCases(cases, dataset, config.plan)
        self.loaded_case_s = (time.perf_counter() - started) / len(cases)
        tensors = [
            [item["image"], item["label"], *item["foreground"]]
            for item in (self._cases[index] for index in range(len(cases)))
        ]
        sizes = [sum(each.numel() * each.element_size() for each in of_case) for of_case in tensors]
        self.case_gib = float(np.mean(sizes)) / 2**30

    def mean_s(self, step: Callable[[int, Tensor, Tensor], None]) -> float:
        """Mean seconds of a step (number, image, label), after one that does not count.

        Batches are prepared in the background, as in a run: on a CPU they take time from the steps.
        """
        stream = PatchStream(
            self._cases,
            self._config.plan,
            steps_per_epoch=MAX_STEPS,
            num_workers=self._config.runtime.num_workers,
        )
        started, num_done = 0.0, -1
        for number, batch in enumerate(stream):
            step(number, self._laid_out(batch["image"]), batch["label"].to(self.device))
            self._wait()
            num_done += 1
            if num_done == 0:
                started = time.perf_counter()
            elif num_done >= NUM_STEPS and time.perf_counter() - started >= MIN_SECONDS:
                break
        return (time.perf_counter() - started) / max(1, num_done)

    def descend(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        forward: Callable[[], Tensor | list[Tensor]],
        label: Tensor,
    ) -> None:
        """One step of the optimizer, as searches and trainings take it."""
        optimizer.zero_grad()
        with autocast(self._precision, self.device):
            outputs = forward()
        segmentation_loss(outputs, label).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimizer.step()

    def search_step_s(self, module: SinglePathModule) -> float:
        """Mean seconds of a step of the shared weights, over random architectures."""
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)

        def step(number: int, image: Tensor, label: Tensor) -> None:
            genotype = module.sampler.draw(Random(f"timing/{number}"), module.excess)
            self.descend(module, optimizer, lambda: module(image, genotype), label)

        return self.mean_s(step)

    def training_step_s(self, genotype: Genotype) -> float:
        """Mean seconds of a training step of a network of the space's width."""
        network = self._network(genotype)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        average = WeightAverage(network, 0.99)

        def step(number: int, image: Tensor, label: Tensor) -> None:
            self.descend(network, optimizer, lambda: network(image), label)
            average.update_parameters(network)

        return self.mean_s(step)

    def validated_case_s(self, genotype: Genotype) -> float:
        """Mean seconds of segmenting one case."""
        network = self._network(genotype).eval()
        started = time.perf_counter()
        with torch.inference_mode(), autocast(self._precision, self.device):
            for index in range(len(self._cases)):
                item = self._cases[index]
                image = self._laid_out(item["image"][None].float())
                prediction = segment(network, image, self._config.plan, overlap=0.5).argmax(1, keepdim=True)
                foreground_dice(prediction.cpu(), item["label"][None], self._dataset.num_classes)
        self._wait()
        return (time.perf_counter() - started) / len(self._cases)

    def scored_case_s(self) -> float:
        """Mean seconds of the metrics of one case, for a prediction that is one voxel off."""
        started = time.perf_counter()
        cases = self._cases.cases[:2]
        for case in cases:
            reference, affine = load_label(case, self._dataset)
            spacing_mm = voxel_sizes(affine)[: self._dataset.spatial_dims].tolist()
            score_case(reference, np.roll(reference, 1, 0), spacing_mm, self._dataset.num_classes)
        return (time.perf_counter() - started) / len(cases)

    def _network(self, genotype: Genotype) -> nn.Module:
        plan, channels, classes = self._config.plan, self._dataset.num_channels, self._dataset.num_classes
        architecture = Architecture("timed", genotype)
        network: Any = build_network(
            architecture,
            plan,
            channels,
            classes,
            base_channels=self._config.space.base_channels,
            max_channels=NetworkSettings().max_channels,
            deep_supervision=offers_deep_supervision(architecture, plan),
        ).to(self.device)
        laid_out: nn.Module = network if self._layout is None else network.to(memory_format=self._layout)
        return laid_out

    def _laid_out(self, image: Tensor) -> Tensor:
        image = image.to(self.device)
        return image.to(memory_format=self._layout) if self._layout is not None else image

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def scaled(timing: Timing, factor: float) -> Timing:
    """A guess of the timing when all steps of a network take ``factor`` times as long."""
    names = ("search_step_s", "searched_step_s", "unet_step_s", "validated_case_s")
    return replace(timing, **{name: factor * getattr(timing, name) for name in names})
