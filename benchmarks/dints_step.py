"""One search step, weights and architecture, of MONAI's DiNTS supernet (He 2021), as MONAI's tutorial runs it."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch
from monai.losses import DiceCELoss
from monai.networks.nets import DiNTS, TopologySearch
from torch import Tensor

from .device import the_device
from .noise import NUM_CLASSES, noise_batch
from .stopwatch import StepRecorder

NUM_BLOCKS = 12
NUM_DEPTHS = 4
"""Both as in MONAI's tutorial; the stem halves the resolution once, the deepest level is 1/16 as in a grid of 5 levels."""
CHANNELS_OF_MULTIPLIER_1 = 32
COST_WEIGHT = 1e-3


def dints_step(
    *,
    patch_size: tuple[int, ...],
    base_channels: int,
    batch_size: int,
    num_threads: int,
    num_blocks: int = NUM_BLOCKS,
    num_depths: int = NUM_DEPTHS,
    with_ledger: bool = False,
) -> dict[str, Any]:
    """Times the search step in this process, in bfloat16 with channels-last memory; see :func:`search_step`."""
    device = the_device()
    torch.set_num_threads(num_threads)
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        topology = TopologySearch(
            channel_mul=base_channels / CHANNELS_OF_MULTIPLIER_1,
            num_blocks=num_blocks,
            num_depths=num_depths,
            spatial_dims=3,
            use_downsample=True,
            device=str(device),
        )
        model = DiNTS(
            topology, 1, NUM_CLASSES, use_downsample=True, node_a=torch.ones(num_blocks + 1, num_depths)
        )
    model = model.to(device, memory_format=torch.channels_last_3d)
    architecture = [topology.log_alpha_a, topology.log_alpha_c]
    # Not model.weight_parameters(), which in MONAI 1.6 holds these two as well.
    weights = [p for p in model.parameters() if all(p is not a for a in architecture)]
    optimizers = torch.optim.AdamW(weights, 1e-3), torch.optim.Adam(architecture, 1e-3, betas=(0.5, 0.999))
    loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    batches = [
        {name: value.to(device) for name, value in noise_batch(batch_size, patch_size, seed).items()}
        for seed in (1, 2)
    ]

    def segmentation_loss(batch: dict[str, Tensor]) -> Tensor:
        image = batch["image"].to(memory_format=torch.channels_last_3d)
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(image)
        return loss(logits.float(), batch["label"])

    def half_step(moving: list[Any], fixed: list[Any], optimizer: Any, batch: Any, penalty: Any) -> None:
        for parameter in moving:
            parameter.requires_grad_(True)
        for parameter in fixed:
            parameter.requires_grad_(False)
        optimizer.zero_grad()
        (segmentation_loss(batch) + penalty()).backward()
        optimizer.step()

    def step() -> None:
        half_step(architecture, weights, optimizers[1], batches[1], lambda: _penalty(topology))
        half_step(weights, architecture, optimizers[0], batches[0], lambda: 0.0)

    recorder = StepRecorder(device, batch_size, with_ledger)
    recorder.repeat(step)
    return recorder.to_dict()


def _penalty(topology: TopologySearch) -> Tensor:
    """The entropy of the topology and of the cells' operations, which DiNTS adds to the architecture's loss."""
    probabilities, _ = topology.get_prob_a(child=True)
    cells = torch.softmax(topology.log_alpha_c, -1)
    entropy = -(cells * torch.log_softmax(topology.log_alpha_c, -1)).sum(-1).mean()
    return COST_WEIGHT * (topology.get_topology_entropy(probabilities) + entropy)
