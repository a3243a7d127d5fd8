"""nnU-Net's way of training on several devices: the network in DistributedDataParallel, which wants all gradients."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from search_space import Genotype, presets
from search_space.grid import Node
from search_space.nnunet_network import UXNetForNNUNet

pytestmark = [pytest.mark.slow, pytest.mark.scale]

STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
PROCESSES, STEPS, LEARNING_RATE = 2, 3, 0.1


def network(deep_supervision: bool) -> UXNetForNNUNet:
    """Of a genotype that lacks the last node of level 1, whose head therefore reads the encoder."""
    full, gone = presets.get("full", 3), Node(1, 1)
    edges = [edge for edge in full.edges if gone not in (edge.source, edge.target)]
    genotype = Genotype.from_choices(3, edges, full.operations)
    torch.manual_seed(0)
    return UXNetForNNUNet(
        1, 2, genotype.to_dict(), [2, 3, 4], STRIDES, [2, 1, 0], deep_supervision=deep_supervision
    ).double()


def images(step: int) -> Tensor:
    """A patch for each process."""
    generator = torch.Generator().manual_seed(step)
    return torch.randn(PROCESSES, 1, 4, 8, 8, generator=generator, dtype=torch.float64)


def train(model: nn.Module, decoder: nn.Module, patches: slice) -> None:
    """A few steps of gradient descent, with a validation without deep supervision in the middle."""
    trained = decoder.deep_supervision
    for step in range(STEPS):
        outputs = model(images(step)[patches])
        assert isinstance(outputs, list) == trained
        loss = sum(((logits - 1) ** 2).mean() for logits in (outputs if trained else [outputs]))
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= LEARNING_RATE * parameter.grad
            decoder.deep_supervision = False  # as nnU-Net's trainer switches it
            assert isinstance(model.eval()(images(99)[patches]), Tensor)
            decoder.deep_supervision = trained
            model.train()


def work(rank: int, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=PROCESSES
    )
    for deep_supervision in (True, False):
        inner = network(deep_supervision)
        model = nn.parallel.DistributedDataParallel(inner)  # nnU-Net lets it search no unused parameters
        train(model, inner.decoder, slice(rank, rank + 1))
        torch.save(inner.state_dict(), folder / f"{deep_supervision}{rank}.pt")
    inner = network(deep_supervision=False)
    inner.decoder.seg_layers.requires_grad_()  # as if the heads did not follow the switch
    try:
        train(nn.parallel.DistributedDataParallel(inner), inner.decoder, slice(rank, rank + 1))
    except RuntimeError as error:
        (folder / f"error{rank}").write_text(str(error))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left: their weights after trainings, and their errors."""
    folder, spawn = tmp_path_factory.mktemp("ddp"), multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=work, args=(rank, folder)) for rank in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    return folder


@pytest.mark.parametrize("deep_supervision", [True, False])
def test_two_processes_train_to_the_weights_of_one(trained: Path, deep_supervision: bool) -> None:
    alone = network(deep_supervision)
    before = {name: value.clone() for name, value in alone.state_dict().items()}
    train(alone, alone.decoder, slice(None))
    found = [torch.load(trained / f"{deep_supervision}{rank}.pt") for rank in range(PROCESSES)]
    for name, expected in alone.state_dict().items():
        assert torch.equal(found[0][name], found[1][name])
        torch.testing.assert_close(found[0][name], expected, rtol=1e-9, atol=1e-9)
    unchanged = {name for name, value in alone.state_dict().items() if torch.equal(value, before[name])}
    coarse = {"decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"}
    assert {name for name in unchanged if "seg_layers" in name} == (set() if deep_supervision else coarse)


def test_an_unused_parameter_would_be_noticed(trained: Path) -> None:
    for rank in range(PROCESSES):
        assert "parameters that were not used in producing loss" in (trained / f"error{rank}").read_text()
