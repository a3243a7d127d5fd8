"""Training step and sliding-window prediction of a fixed network, the searched one beside MONAI's of like size."""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from monai.losses import DiceCELoss
from torch import nn

from uxnet_eval.architectures.architecture import find_architecture
from uxnet_eval.config.plan import Plan
from uxnet_eval.config.training import NetworkSettings
from uxnet_eval.dataset.msd import Dataset
from uxnet_eval.networks.build import build_network
from uxnet_eval.networks.width import choose_base_channels
from uxnet_eval.prediction.windows import WindowSettings, window_logits
from uxnet_eval.recipe.precision import autocast, channels_last

from .device import the_device
from .noise import NUM_CLASSES, noise_batch
from .stopwatch import StepRecorder

PRECISION = "bf16-mixed"
OVERLAP = 0.5
VOLUME_PER_PATCH = 2.5
"""The predicted volume's size over the window's, along each axis: 4 x 4 x 4 windows at an overlap of a half."""


def network(architecture: str, plan: Plan, parameters: int) -> tuple[nn.Module, float]:
    """The network with as nearly ``parameters`` parameters as its width allows, and that width."""
    found = find_architecture(architecture, plan.levels)
    settings = NetworkSettings(architecture=architecture, parameters=parameters)
    width = choose_base_channels(found, settings, plan, 1, NUM_CLASSES)
    torch.manual_seed(0)
    built = build_network(
        found, plan, 1, NUM_CLASSES, base_channels=width, max_channels=settings.max_channels
    )
    return built.to(the_device(), memory_format=channels_last(plan.spatial_dims)), width


def train_step(
    architecture: str, plan: Plan, parameters: int, num_threads: int, with_ledger: bool = False
) -> dict[str, Any]:
    """Times training steps in bfloat16 with channels-last memory, without deep supervision."""
    torch.set_num_threads(num_threads)
    device = the_device()
    model, width = network(architecture, plan, parameters)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    batch = noise_batch(plan.batch_size, plan.patch_size)
    image = batch["image"].to(device, memory_format=channels_last(plan.spatial_dims))
    label = batch["label"].to(device)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(PRECISION, device):
            logits = model(image)
        loss(logits.float(), label).backward()
        optimizer.step()

    recorder = StepRecorder(device, plan.batch_size, with_ledger)
    recorder.repeat(step)
    return recorder.to_dict() | {"parameters": sum(p.numel() for p in model.parameters()), "width": width}


def prediction(
    architecture: str, plan: Plan, parameters: int, num_threads: int, with_ledger: bool = False
) -> dict[str, Any]:
    """Times the prediction of one volume by overlapping windows, as ``uxnet predict`` computes it."""
    torch.set_num_threads(num_threads)
    device = the_device()
    built, _ = network(architecture, plan, parameters)
    model: Any = SimpleNamespace(
        network=built.eval(),
        plan=plan,
        dataset=_no_dataset(plan.spatial_dims),
        device=device,
        precision=PRECISION,
        overlap=OVERLAP,
    )
    size = tuple(int(VOLUME_PER_PATCH * axis) for axis in plan.patch_size)
    image = noise_batch(1, size)["image"][0]
    settings, windows = WindowSettings(), [0]

    def predict() -> None:
        windows[0] = 0
        window_logits(model, image, settings, lambda count: windows.__setitem__(0, windows[0] + count))

    recorder = StepRecorder(device, settings.batch_size, with_ledger)
    recorder.repeat(predict)
    return recorder.to_dict() | {"num_windows": windows[0], "size": size}


def _no_dataset(spatial_dims: int) -> Dataset:
    return Dataset(
        folder=Path(),
        name="noise",
        channel_names=("noise",),
        class_names=tuple(f"class {k}" for k in range(NUM_CLASSES)),
        label_values=tuple(range(NUM_CLASSES)),
        cases=(),
        test_cases=(),
        spatial_dims=spatial_dims,
    )
