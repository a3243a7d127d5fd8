"""Two processes of one run, started as Lightning, a person, SLURM or torchrun would start them."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Run = Callable[[Path, Path], Any]
"""Runs a configuration into a folder."""
Launcher = Callable[[int, Path], dict[str, str]]
"""The variables that a process of a rank finds in its environment."""


def by_lightning(rank: int, folder: Path) -> dict[str, str]:
    """What Lightning says to the processes that it starts on one machine."""
    rendezvous = str(folder / "rendezvous")
    return {"LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "NODE_RANK": "0", "UXNET_RENDEZVOUS": rendezvous}


def by_hand(rank: int, folder: Path) -> dict[str, str]:
    """What docs/scale.md says to set on each of two machines."""
    return {"NODE_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": (folder / "port").read_text()}


def by_srun(rank: int, folder: Path) -> dict[str, str]:
    """The same inside a job of SLURM with a task on each of two machines."""
    own = {"SLURM_NODEID": str(rank), "SLURM_PROCID": str(rank), "SLURM_LOCALID": "0", "LOCAL_RANK": "0"}
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1"}
    return {**by_hand(rank, folder), **job, **own}


def by_torchrun(rank: int, folder: Path) -> dict[str, str]:
    """What torchrun says to its one process on each of two machines."""
    own = {"RANK": str(rank), "GROUP_RANK": str(rank), "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    where = by_hand(rank, folder)
    del where["NODE_RANK"]
    return {**where, **own, "TORCHELASTIC_RUN_ID": "7", "TORCHELASTIC_USE_AGENT_STORE": "False"}


def in_two_processes(
    run: Run,
    config: Path,
    output: Path,
    before: Callable[[], object] = lambda: None,
    launcher: Launcher = by_lightning,
) -> list[int | None]:
    """Runs in two forks of this process, with the variables that a launcher sets; returns their exit codes."""
    own = output.with_name(f"{output.name}.two.yml")
    values = yaml.safe_load(config.read_text())
    devices, num_nodes = (2, 1) if launcher is by_lightning else (1, 2)
    runtime = {"devices": devices, "num_nodes": num_nodes, "strategy": "ddp"}
    values["runtime"] = {**values["runtime"], **runtime}
    own.write_text(yaml.safe_dump(values))
    (output.parent / "rendezvous").unlink(missing_ok=True)

    def work(rank: int) -> None:
        os.environ |= launcher(rank, output.parent)
        before()
        run(own, output)

    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=work, args=(rank,)) for rank in (0, 1)]
    # Lightning starts the second process when the first has opened the folder. Other programs start both at
    # once: here the second comes first.
    for rank in (0, 1) if launcher is by_lightning else (1, 0):
        workers[rank].start()
        time.sleep(0.5)
        while launcher is by_lightning and not (output / "run.yml").exists() and workers[0].is_alive():
            time.sleep(0.05)
    for worker in workers:
        worker.join(1200)
    return [worker.exitcode for worker in workers]


def in_one_process(run: Run, config: Path, output: Path, before: Callable[[], object]) -> int | None:
    """Runs in a fork of this process; returns its exit code."""

    def work() -> None:
        before()
        run(config, output)

    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    worker.join(1200)
    return worker.exitcode
