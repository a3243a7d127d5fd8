"""One run in several processes, by Lightning's DDP, that ends with the weights of a single one.

The plan's batch is shared out, so the number of processes changes nothing but the order of
summation, and a run can be resumed with another number.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed, nn

from search_space.errors import UserError
from strategies.processes import are_equal_everywhere

from ..config.run_file import RuntimeSettings
from ..runs.processes import local_rank, node_rank

RENDEZVOUS = "UXNET_RENDEZVOUS"
"""The environment variable that names the file by which the processes of a machine find each
other."""


class LoopbackDDP(DDPStrategy):
    """DDP whose processes, on one machine, find each other by a file and talk over loopback alone.

    Lightning's would listen on every interface. Several nodes, and processes that another program
    starts (torchrun), need that: they get Lightning's.

    Args:
        wraps: let DistributedDataParallel average the gradients during the backward pass. False:
            the module does so itself, as one that makes several steps for a batch must.
        **settings: of Lightning's strategy.
    """

    def __init__(self, wraps: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self._wraps = wraps
        if "LOCAL_RANK" not in os.environ:  # Lightning will start the other processes
            folder = tempfile.mkdtemp(prefix="uxnet-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            os.environ[RENDEZVOUS] = str(Path(folder) / "rendezvous")

    def setup_distributed(self) -> None:
        self.set_world_ranks()
        if self.num_nodes == 1 and RENDEZVOUS in os.environ and not distributed.is_initialized():
            for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                os.environ[name] = _loopback_interface()
            distributed.init_process_group(
                self._get_process_group_backend(),
                init_method=f"file://{os.environ[RENDEZVOUS]}",
                rank=self.global_rank,
                world_size=self.world_size,
                timeout=self._timeout,
            )
        super().setup_distributed()

    def configure_ddp(self) -> None:
        if self._wraps:
            super().configure_ddp()


class SameArchitecture(pl.Callback):
    """Stops a search whose processes have drifted apart; asks after every epoch."""

    def __init__(self, parameters: Callable[[], Iterable[Tensor]]) -> None:
        self.parameters = parameters

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not are_equal_everywhere(self.parameters()):
            raise RuntimeError(
                f"alphas and betas differ between the processes after epoch {trainer.current_epoch + 1}"
            )


def num_devices(runtime: RuntimeSettings, device: torch.device, batch_size: int) -> int:
    """The processes of this machine that a run takes.

    Args:
        runtime: ``devices`` and ``num_nodes``.
        device: where it computes.
        batch_size: patches of a step, which all processes share.

    Raises:
        UserError: if there are fewer GPUs or cores, or the batch cannot be shared out evenly.
    """
    is_cuda = device.type == "cuda"
    there = torch.cuda.device_count() if is_cuda else os.cpu_count() or 1
    if runtime.devices == "auto":
        return max(n for n in range(1, max(1, there if is_cuda else 1) + 1) if batch_size % n == 0)
    if runtime.devices > there:
        what = "GPUs are visible" if is_cuda else "processor cores are here"
        raise UserError(f"devices is {runtime.devices}, but {there} {what}; lower it, or devices: auto")
    total = runtime.devices * runtime.num_nodes
    if batch_size % total:
        raise UserError(
            f"batch_size is {batch_size}, which {total} processes (devices x num_nodes) cannot share evenly; "
            f"use batch_size {(batch_size // total + 1) * total}, or fewer processes"
        )
    return runtime.devices


def check_shareable(network: nn.Module, num_cases: int, num_processes: int, device: torch.device) -> None:
    """Raises :class:`UserError` if several processes would compute something else than one.

    Args:
        network: to train.
        num_cases: cases to validate on.
        num_processes: of all nodes.
        device: where it computes.
    """
    if num_processes == 1:
        return
    if num_cases < num_processes:
        raise UserError(
            f"{num_cases} validation cases cannot be shared by {num_processes} processes; use fewer devices"
        )
    has_batch_norm = any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in network.modules())
    if has_batch_norm and device.type == "cpu":
        raise UserError(
            "this network has batch normalisation, which processes on CPUs cannot share; use devices: 1"
        )


def process_settings(runtime: RuntimeSettings, devices: int, *, wraps: bool) -> dict[str, Any]:
    """Keyword arguments of a trainer for these processes; ``wraps`` as in :class:`LoopbackDDP`."""
    settings: dict[str, Any] = {"devices": devices, "num_nodes": runtime.num_nodes}
    if devices * runtime.num_nodes == 1:
        return settings
    return {
        **settings,
        "strategy": LoopbackDDP(wraps),
        "use_distributed_sampler": False,  # ours shares out patches and cases, and repeats none
        "sync_batchnorm": True,
    }


def own_rank(runtime: RuntimeSettings, devices: int) -> tuple[int, int]:
    """The number of this process among all, and how many there are; before Lightning knows."""
    total = devices * runtime.num_nodes
    return (node_rank() * devices + local_rank(), total) if total > 1 else (0, 1)


def _loopback_interface() -> str:
    """``lo``, or what this system calls it."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == "127.0.0.1" for address in addresses):
            return name
    raise UserError("this machine has no loopback interface (127.0.0.1); use devices: 1")
