"""What the Lightning trainers of searches and trainings have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from ..runs.names import CHECKPOINT_NAME
from ..runs.saved_state import SavedState
from .checkpoint_files import SafeCheckpointIO

Checkpoint = TypeVar("Checkpoint", bound=ModelCheckpoint)


def trainer_settings(device: torch.device, precision: str, checkpoint: SavedState | None) -> dict[str, Any]:
    """Keyword arguments of a trainer that prints and logs nothing of its own.

    Args:
        device: where it computes.
        precision: Lightning's name of the number format.
        checkpoint: what the run goes on from; None: it starts from nothing.
    """
    return {
        "accelerator": "gpu" if device.type == "cuda" else "cpu",
        "precision": precision,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "plugins": [SafeCheckpointIO(checkpoint)],
    }


def checkpoint_each_epoch(folder: Path, kind: type[Checkpoint]) -> Checkpoint:
    """The callback that keeps the state of the newest epoch in ``folder``.

    It belongs last in the list, so that what the other callbacks keep in it is up to date.

    Args:
        folder: the output folder.
        kind: :class:`ModelCheckpoint` or a class of it.
    """
    return kind(
        dirpath=folder,
        filename=CHECKPOINT_NAME.removesuffix(".ckpt"),
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
