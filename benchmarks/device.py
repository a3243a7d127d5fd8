"""The machine at hand: device, processor, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

VERSIONS = ("torch", "nni", "monai", "pytorch-lightning", "numpy")
INSTRUCTIONS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "bf16")


def the_device() -> torch.device:
    """A CUDA GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine(num_threads: int) -> dict[str, Any]:
    """What a reader must know to compare these figures with others."""
    device = the_device()
    capabilities = torch.cpu.get_capabilities()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "device_type": device.type,
        "processor": _processor(),
        "instructions": [name for name in INSTRUCTIONS if capabilities.get(name)],
        "num_cores": os.cpu_count(),
        "num_threads": num_threads,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
    }


def available_memory_bytes() -> int:
    """Main memory, or that of the GPU, that a measurement may take now."""
    device = the_device()
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def load_average() -> float | None:
    """How many processes wanted a core over the last minute; None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
