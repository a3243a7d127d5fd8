"""Measures fixed networks of like size: training step and sliding-window prediction, in interleaved rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from uxnet_eval.config.plan import Plan

from .device import load_average
from .isolation import isolated
from .network_step import prediction, train_step
from .peak import matmul_peak
from .search_part import times_of

GENOTYPE = Path(__file__).parents[1] / "experiments" / "results" / "hippocampus_genotype.json"


@dataclass(frozen=True)
class NetworkGrid:
    """What is compared; the defaults are those of the committed results."""

    patch_size: tuple[int, ...] = (40, 56, 40)
    """That of the hippocampus data."""
    num_strides: int = 3
    """One fewer than the levels, which are the genotype's."""
    batch_size: int = 2
    parameters: int = 600_000
    architectures: tuple[str, ...] = (str(GENOTYPE), "unet", "dynunet", "segresnet")
    rounds: int = 3

    @property
    def plan(self) -> Plan:
        return Plan(
            spacing_mm=(1.0, 1.0, 1.0),
            patch_size=self.patch_size,
            strides=((2, 2, 2),) * self.num_strides,
            batch_size=self.batch_size,
        )


QUICK_NETWORKS = NetworkGrid(patch_size=(16, 16, 16), batch_size=1, parameters=50_000, rounds=1)


def measure_networks(grid: NetworkGrid, num_threads: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Times, memory, multiply-adds, share of the peak and ledger of every network, as JSON."""
    runs: dict[tuple[str, str], list[Any]] = {}
    peaks, loads = [], []
    for number in range(grid.rounds):
        peaks.append(isolated(matmul_peak, num_threads).value["bfloat16"])
        loads.append(load_average())
        for architecture in grid.architectures:
            for what, function in (("training step", train_step), ("prediction", prediction)):
                outcome = isolated(
                    function, architecture, grid.plan, grid.parameters, num_threads, number == 0
                )
                runs.setdefault((architecture, what), []).append(outcome)
                times = times_of(outcome.value["timings"], num_threads)
                say(f"{what} of {_name(architecture)}: {median(times):.3f} s")
    peak = max(peaks)
    rows = []
    for (architecture, what), timed in runs.items():
        counted = timed[0]
        times = [t for run in timed for t in times_of(run.value["timings"], num_threads)]
        multiply_adds = sum(counted.value["ledger"]["multiply_adds"].values())
        gpu = [run.value["timings"]["peak_gpu_bytes"] for run in timed]
        rows.append(
            {
                "network": _name(architecture),
                "what": what,
                "parameters": runs[architecture, "training step"][0].value["parameters"],
                "width": runs[architecture, "training step"][0].value["width"],
                "median_s": median(times),
                "times_s": times,
                "memory_gib": max(g or run.peak_memory_bytes for g, run in zip(gpu, timed, strict=True))
                / 2**30,
                "multiply_adds": multiply_adds,
                "share_of_peak": multiply_adds / median(times) / peak,
                "ledger": counted.value["ledger"],
                "num_windows": counted.value.get("num_windows"),
            }
        )
    return {
        "plan": grid.plan.model_dump(mode="json"),
        "peak_multiply_adds_per_s": peak,
        "load_average": loads,
        "rows": rows,
    }


def _name(architecture: str) -> str:
    return "searched" if architecture.endswith(".json") else architecture
