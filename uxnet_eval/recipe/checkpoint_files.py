"""How Lightning's checkpoint gets to the disk: whole or not at all, the one before kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from strategies.finite import Diverged

from ..runs.files import leftovers, replacing
from ..runs.names import previous_checkpoint


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint under another name, waits for the disk, renames.

    Lightning would overwrite the only checkpoint.

    The checkpoint before stays as ``checkpoint.previous.ckpt``: a run goes on from it if the newest
    is damaged.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes ``checkpoint`` to ``path``.

        Raises :class:`OSError` if that fails, and
        :class:`~strategies.finite.Diverged` if a weight is NaN or infinite. Then ``path`` is
        unchanged.
        """
        spoilt = first_not_finite(checkpoint.get("state_dict", {}))
        if spoilt:  # the last good state stays
            raise Diverged(f"the weights of {spoilt} are not finite in epoch {checkpoint['epoch'] + 1}")
        target = Path(path)
        for old in leftovers(target):  # of a process that was killed: the folder is locked by this one
            old.unlink(missing_ok=True)
        try:
            with replacing(target) as part:
                with part.open("wb") as stream:
                    torch.save(checkpoint, stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                if target.exists():
                    os.replace(target, previous_checkpoint(target))
        except RuntimeError as error:  # torch's word for a full disk, with the system's in it
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def first_not_finite(weights: Mapping[str, Any]) -> str:
    """The name of the first tensor with a value that is NaN or infinite; empty if there is none."""
    for name, weight in weights.items():
        if isinstance(weight, torch.Tensor) and weight.is_floating_point() and not weight.isfinite().all():
            return str(name)
    return ""
