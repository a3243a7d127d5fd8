"""Lightning's checkpoint on the disk: written whole or not at all, and what is wrong with one."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from search_space.errors import UserError
from strategies.finite import Diverged

from ..runs.files import leftovers, replacing
from ..runs.names import previous_checkpoint
from ..runs.saved_state import SavedState
from ..runs.tensors import read_tensors

WAY_ON = "give another output folder, or delete the file to go on from the checkpoint before it"


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint under another name, waits for the disk, renames.

    Lightning would overwrite the only checkpoint.

    The checkpoint before stays as ``checkpoint.previous.ckpt``: a run goes on from it if the newest
    is damaged.

    Args:
        known: what a run goes on from, which has been read already; None: nothing.
    """

    def __init__(self, known: SavedState | None = None):
        self._known = known

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

    def load_checkpoint(self, path: Any, *options: Any, **named: Any) -> Any:
        """The state in a checkpoint.

        Raises :class:`UserError` if it is none of a run.
        """
        known, self._known = self._known, None
        if known is not None and known.path == Path(path):
            state = known.hand_over()
        else:
            state = read_tensors(Path(path))
        fault = state_fault(state)
        if fault:
            raise UserError(f"{path}: {fault}; {WAY_ON}")
        return state


class ReadingState(pl.Callback):
    """A context for ``Trainer.fit`` in which a state that does not fit the run is one line.

    It names the file. What happens from the first epoch on is not the state's fault.

    Args:
        checkpoint: the state that the run goes on from; None: none, and nothing is changed.
    """

    def __init__(self, checkpoint: SavedState | None) -> None:
        self._unread = checkpoint

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._unread = None

    def __enter__(self) -> ReadingState:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self._unread is None or not isinstance(error, Exception):
            return
        if isinstance(error, (UserError, OSError, MemoryError, Diverged)):
            return
        reason = textwrap.shorten(str(error), 200) or type(error).__name__
        raise UserError(f"{self._unread}: does not fit this run ({reason}); {WAY_ON}") from error


def state_fault(state: Any) -> str:
    """Why this is no state of a run; empty if it is one."""
    if not isinstance(state, dict) or "pytorch-lightning_version" not in state:
        return "is no state of a run"
    kinds = {"state_dict": dict, "epoch": int, "callbacks": dict, "loops": dict}
    kinds |= {"optimizer_states": list, "lr_schedulers": list}
    absent = [key for key, kind in kinds.items() if not isinstance(state.get(key), kind) or state[key] == {}]
    return f"is no state of a run: it lacks {', '.join(absent)}" if absent else ""


def first_not_finite(weights: Mapping[str, Any]) -> str:
    """The name of the first tensor with a value that is NaN or infinite; empty if there is none."""
    for name, weight in weights.items():
        if isinstance(weight, torch.Tensor) and weight.is_floating_point() and not weight.isfinite().all():
            return str(name)
    return ""
