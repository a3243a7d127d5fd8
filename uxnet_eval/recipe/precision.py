"""Which number format and device to compute in."""

from __future__ import annotations

import torch

from search_space.errors import UserError


def resolve_device(setting: str) -> torch.device:
    """The device of ``auto``, ``cpu`` or ``cuda``.

    Raises :class:`UserError` if there is no CUDA GPU.
    """
    if setting == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda was asked for, but PyTorch sees no GPU; use device: auto or cpu")
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(setting)


def resolve_precision(setting: str, device: torch.device) -> str:
    """Lightning's name of ``auto``, ``float32`` or ``bfloat16``.

    ``auto`` is bfloat16 only where the processor or GPU has instructions for it; emulated, it would
    be slower.
    """
    if setting == "auto":
        setting = "bfloat16" if has_bfloat16(device) else "float32"
    return "bf16-mixed" if setting == "bfloat16" else "32-true"


def has_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` multiplies bfloat16 numbers in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a network runs at Lightning's ``precision``."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed")


def channels_last(spatial_dims: int) -> torch.memory_format:
    """The memory format in which convolutions of low channel counts are fastest."""
    return torch.channels_last_3d if spatial_dims == 3 else torch.channels_last
