"""A new run that begins with the state of another one, with some of its settings changed.

This is the way on after a run has diverged: its last good state, with a lower learning rate.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch

from search_space.errors import UserError
from search_space.reading import parse_yaml, read_json, read_yaml

from ..config.run_file import RunFile
from ..runs.files import replacing, write_json
from ..runs.folder import differences
from ..runs.names import BEST_NAME, CHECKPOINT_NAME, CONFIG_NAME, ORIGIN_NAME
from ..runs.saved_state import SavedState
from ..runs.tensors import read_tensors
from .checkpoint_files import first_not_finite, state_fault

logger = logging.getLogger(__name__)

MAY_CHANGE = frozenset(
    {
        "learning_rate",
        "weight_decay",
        "gradient_clip_norm",
        "schedule",
        "epochs",
        "validate_every",
        "patience",
        "alpha_learning_rate",
        "beta_learning_rate",
        "sparsity_weight",
        "edge_weight",
        "cost_weight",
    }
)
"""Settings that may have another value than in the run that the state is of, besides the
machine's."""


class Rates(NamedTuple):
    """What the optimizer of a run's weights takes.

    Attributes:
        learning_rate: the largest learning rate.
        weight_decay: the weight decay.
    """

    learning_rate: float
    weight_decay: float


def continue_or_begin(
    newest: SavedState | None, source: Path | None, folder: Path, config: RunFile, rates: Rates
) -> SavedState | None:
    """The state that a run starts with; None: it starts from nothing.

    Args:
        newest: the state in the run's own newest checkpoint, from which it goes on if there is one.
        source: the checkpoint of another run, as the user asks for; None: none.
        folder: of the run.
        config: its configuration.
        rates: those of its optimizer.

    Raises:
        UserError: if the other run's checkpoint cannot be used, or the run has not begun with it.
    """
    if source is None or (newest is not None and is_from(source, folder)):
        return newest
    return begin_from(source, folder, config, rates)


def way_on(folder: Path) -> str:
    """What to do after a run in ``folder`` has diverged."""
    advice = "a lower learning_rate, or precision: float32"
    if not (folder / CHECKPOINT_NAME).exists():
        return f"Nothing is saved yet: start the same command with {advice}"
    return (
        f"The last good state stays: give another --output, --from-checkpoint {folder / CHECKPOINT_NAME} and "
        f"{advice}"
    )


def begin_from(source: Path, folder: Path, config: RunFile, rates: Rates) -> SavedState:
    """Puts the state of another run into ``folder``, which has none yet, and returns it.

    The best network so far comes along. The optimizer of the weights gets the new learning rate and
    weight decay; its moments stay.

    Args:
        source: a ``checkpoint.ckpt`` or ``checkpoint.previous.ckpt`` in the folder of its run.
        folder: of the new run.
        config: the resolved configuration of the new run.
        rates: those of its optimizer.

    Raises:
        UserError: if the file is absent, damaged, no state of a run or not finite, or if a setting
            differs that cannot change on the way.
    """
    _check_settings(source, config)
    state = read_tensors(source)
    fault = state_fault(state)
    if fault:
        raise UserError(f"{source}: {fault}; give the checkpoint of a run")
    name = first_not_finite(state["state_dict"])
    if name:
        raise UserError(
            f"{source}: its weights are not finite ({name}); give the checkpoint before it, or start anew"
        )
    _change_rates(state, rates.learning_rate, rates.weight_decay)
    best = source.parent / BEST_NAME
    if best.is_file():
        with replacing(folder / BEST_NAME) as part:
            shutil.copyfile(best, part)
    write_json(folder / ORIGIN_NAME, {"checkpoint": str(source.absolute()), "epoch": int(state["epoch"]) + 1})
    target = folder / CHECKPOINT_NAME
    with replacing(target) as part, part.open("wb") as stream:
        torch.save(state, stream)
    logger.info("%s: begins with the state of %s", folder, source)
    return SavedState(target, state)


def is_from(source: Path, folder: Path) -> bool:
    """True if the run in ``folder`` has begun from ``source``; else raises :class:`UserError`."""
    try:
        known = read_json(folder / ORIGIN_NAME)["checkpoint"]
    except (OSError, ValueError, LookupError, TypeError):
        known = None
    if known != str(source.absolute()):
        raise UserError(
            f"{folder}: holds a run that has begun {f'from {known}' if known else 'from the start'}; give another "
            "output folder, or leave --from-checkpoint out to continue it"
        )
    return True


def _check_settings(source: Path, config: RunFile) -> None:
    path = source.parent / CONFIG_NAME
    try:
        before = read_yaml(path)
        if not isinstance(before, dict):
            raise ValueError("no keys and values")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: the configuration of the run is needed beside its checkpoint ({error})"
        ) from None
    changed = differences(before, parse_yaml(config.to_yaml()), config.defaults())
    fixed = [name for name in changed if name.split(".")[-1] not in MAY_CHANGE]
    if fixed:
        raise UserError(
            f"{source}: is of a run with other values of {', '.join(fixed)}; --from-checkpoint allows changes of "
            f"{', '.join(sorted(MAY_CHANGE))} and of runtime"
        )


def _change_rates(state: dict[str, Any], learning_rate: float, weight_decay: float) -> None:
    """Changes what PyTorch would restore from the state over the settings of the new run."""
    for optimizer in state["optimizer_states"]:
        for group in optimizer["param_groups"]:
            if "initial_lr" not in group:  # alpha and beta: the strategy sets their rates at each step
                continue
            group["lr"] *= learning_rate / group["initial_lr"]
            group["initial_lr"], group["weight_decay"] = learning_rate, weight_decay
    for schedule in state["lr_schedulers"]:
        factors = [learning_rate / base for base in schedule["base_lrs"]]
        schedule["base_lrs"] = [learning_rate] * len(factors)
        schedule["_last_lr"] = [
            last * factor for last, factor in zip(schedule["_last_lr"], factors, strict=True)
        ]
