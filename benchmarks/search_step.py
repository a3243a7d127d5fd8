"""One search step, architecture and weights, as a search runs it: through the strategy and Lightning.

The same space, evaluator, loss, optimizer of the weights and batches for all forms; only the strategy, the number
format and the arrangement of operations differ.
"""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

import contextlib
import logging
import warnings
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from nni.nas.evaluator.pytorch import Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.oneshot.pytorch.strategy import DARTS
from nni.nas.space import RawFormatModelSpace
from torch import Tensor

from search_space import SearchSpaceConfig, UXNetSpace
from search_space.kernels.convolution import plain_operations
from strategies import SparseDARTS, StrategySettings
from uxnet_eval.config.plan import Plan
from uxnet_eval.recipe.precision import channels_last
from uxnet_eval.search.module import SegmentationModule

from .device import the_device
from .noise import NUM_CLASSES, NoiseStream
from .stopwatch import StepRecorder


@dataclass(frozen=True)
class Form:
    """One way to compute the search step."""

    title: str
    stock: bool
    """NNI's DARTS instead of this project's strategy."""
    bfloat16: bool
    """bfloat16 autocast and channels-last memory; else float32 as it comes."""
    folded: bool
    """Mixed layers and aggregations by parts, and operations rearranged; else PyTorch's own operations."""


FORMS = {
    "stock-float32": Form("NNI DARTS, float32", stock=True, bfloat16=False, folded=False),
    "stock-bfloat16": Form("NNI DARTS, bfloat16, channels-last", stock=True, bfloat16=True, folded=False),
    "plain": Form("SparseDARTS, plain", stock=False, bfloat16=True, folded=False),
    "folded": Form("SparseDARTS, folded", stock=False, bfloat16=True, folded=True),
}


def search_step(
    form: str,
    *,
    patch_size: tuple[int, ...],
    base_channels: int,
    levels: int,
    batch_size: int,
    num_threads: int,
    num_edges: int | None = None,
    with_ledger: bool = False,
) -> dict[str, Any]:
    """Times the search step in this process.

    Args:
        form: of :data:`FORMS`.
        patch_size, base_channels, levels, batch_size: of the supernet and its input.
        num_threads: of PyTorch.
        num_edges: keep only so many edges, see :func:`keep_edges`; None: all.
        with_ledger: also says where the time of one step goes.

    Returns:
        ``timings`` and, with the ledger, ``ledger``.
    """
    chosen, device = FORMS[form], the_device()
    torch.set_num_threads(num_threads)
    torch.manual_seed(0)
    _quieten()
    dims = len(patch_size)
    config = SearchSpaceConfig(
        spatial_dims=dims, levels=levels, base_channels=base_channels, num_classes=NUM_CLASSES
    )
    space = UXNetSpace(config)
    if num_edges is not None:
        keep_edges(space, num_edges)
    if chosen.bfloat16:
        space = space.to(memory_format=channels_last(dims))
    module = TimedModule(
        Plan(
            spatial_dims=dims,
            spacing_mm=(1.0,) * dims,
            patch_size=patch_size,
            strides=config.level_strides[1:],
            batch_size=batch_size,
        ),
        NUM_CLASSES,
        learning_rate=1e-3,
        weight_decay=1e-2,
        num_steps=1000,
        channels_last=chosen.bfloat16,
    )
    recorder = StepRecorder(device, batch_size, with_ledger)
    trainer = Trainer(
        max_epochs=1,
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if chosen.bfloat16 else "32-true",
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[StepClock(recorder)],
    )
    evaluator = Lightning(
        module,
        trainer,
        train_dataloaders=NoiseStream(batch_size, patch_size, seed=1),
        val_dataloaders=NoiseStream(batch_size, patch_size, seed=2),
    )
    # The paper's method: every edge and candidate in every step, as NNI's DARTS has them.
    settings = StrategySettings.paper(folded=chosen.folded, warmup_epochs=0, gradient_clip_norm=None)
    strategy = DARTS() if chosen.stock else SparseDARTS(settings)
    with contextlib.nullcontext() if chosen.folded else plain_operations():
        strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    return recorder.to_dict()


class TimedModule(SegmentationModule):
    """The evaluator of a search, whose loss stays a number.

    With PyTorch's own operations, oneDNN leaves parts of a kernel's gradient uninitialised in bfloat16 where the kernel
    is larger than the feature map (this project's own convolutions guard against that), so that weights may become NaN
    at the coarse levels of a small patch. What a step costs does not depend on it.
    """

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx).nan_to_num()


class StepClock(pl.Callback):
    """Records training steps and ends the training when that is done."""

    def __init__(self, recorder: StepRecorder) -> None:
        self._recorder = recorder

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._recorder.begin()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._recorder.end()
        trainer.should_stop = self._recorder.done


def keep_edges(space: UXNetSpace, num_edges: int) -> None:
    """Leaves only ``num_edges`` edges in the space, so many at least that every node and layer is still computed.

    Kept first are, of every node, the edge from the nearest source of each kind (fine and coarse).
    """
    first, then = [], []
    for edges in space.edges_into.values():
        for coarse in (False, True):
            nearest, *others = sorted(
                (edge for edge in edges if edge.is_coarse == coarse),
                key=lambda edge: abs(edge.source.level - edge.joint_level),
            ) or [None]
            first += [nearest] if nearest else []
            then += others
    if not len(first) <= num_edges <= len(first) + len(then):
        raise ValueError(f"num_edges is {num_edges}; expected {len(first)} to {len(first) + len(then)}")
    kept = {*first, *then[: num_edges - len(first)]}
    for target, edges in space.edges_into.items():
        space.edges_into[target] = [edge for edge in edges if edge in kept]
    for edge in {*first, *then} - kept:
        del space.edges[str(edge).replace(".", "_")]


def _quieten() -> None:
    warnings.filterwarnings("ignore")
    for name in ("nni", "pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.CRITICAL)
