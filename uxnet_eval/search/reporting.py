"""Reports of a running search: to NNI, TensorBoard, its output folder and the terminal."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from search_space import UXNet
from search_space.config import SearchSpaceConfig
from search_space.genotype import Genotype
from search_space.grid import Edge, Layer
from strategies.bilevel_steps import SparseDartsModule
from strategies.gates import decided_share
from strategies.one_shot.relaxation import RelaxedDARTS
from strategies.perturbation import decide_by_perturbation
from strategies.pruning import RescueWarning
from strategies.sparse_darts import SparseDARTS

from ..config.plan import Plan
from ..nni_guards import report_final, report_intermediate, resume_intermediate_sequence
from ..recipe.precision import autocast
from ..recipe.tracking import TrackedWriter
from ..recipe.validation import DiceTally, foreground_dice, segment
from ..report.live import LiveReport, architecture_picture
from ..runs.files import write_json
from ..runs.names import GENOTYPE_NAME, GENOTYPES_FOLDER, RESULT_NAME
from ..runs.search_record import SearchRecord, named
from ..runs.validation_cases import ValidationCases

logger = logging.getLogger(__name__)

THRESHOLDS = (0.5, 0.6, 0.75, 0.9)
"""A genotype is written at each of these and at the run's own."""


class SearchReporter(pl.Callback):
    """Reports at every validation and at the end.

    Args:
        strategy: the running strategy.
        space: configuration of the space, to rebuild derived networks.
        plan: the plan, for whole-case validation.
        output: the output folder.
        events: folder of the TensorBoard events.
        record: an empty record with what does not change in the run.
        class_names: background first.
    """

    def __init__(
        self,
        strategy: SparseDARTS | RelaxedDARTS,
        space: SearchSpaceConfig,
        plan: Plan,
        output: Path,
        events: Path,
        record: SearchRecord,
        class_names: Sequence[str],
    ) -> None:
        self.strategy, self.space, self.plan, self.output, self.record = strategy, space, plan, output, record
        self._events, self._class_names = events, class_names
        self._report = LiveReport(output)
        self._writer: TrackedWriter | None = None
        self._started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.record.history, "spent_s": time.monotonic() - self._started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.record.history = state_dict["history"]
        if self.record.history:  # a search that was killed after its last validation has no other
            last = self.record.history[-1]
            self.record.gates, self.record.alphas = last["gates"], last["alphas"]
            self.record.scores = {name: last[name] for name in ("default", "derived_dice")}
        self._started = time.monotonic() - state_dict["spent_s"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        resume_intermediate_sequence(len(self.record.history))
        # Events after the checkpoint, of a run that was stopped, are dropped.
        self._writer = TrackedWriter(self._events, purge_step=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        for name, value in trainer.callback_metrics.items():
            if name.startswith(("loss/", "learning_rate/")):
                self._scalar(name, float(value), trainer.current_epoch)
        for group in trainer.optimizers[0].param_groups:
            self._scalar("learning_rate/weights", group["lr"], trainer.current_epoch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        epoch = trainer.current_epoch
        gates, alphas = self.strategy.gates(), self.strategy.alphas()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RescueWarning)
            genotype = self.strategy.export()
        derived_dice, cases = self._derived_dice(genotype, trainer)
        scores = {
            "default": _number(trainer.callback_metrics.get("val_dice", math.nan)),
            "derived_dice": derived_dice,
        }
        self.record.gates, self.record.alphas, self.record.scores = named(gates), named(alphas), scores
        self.record.history.append(
            {"epoch": epoch, **scores, "gates": named(gates), "alphas": named(alphas), **_losses(trainer)}
        )
        if not trainer.is_global_zero:
            return
        self.record.save(self.output)
        self._write_genotypes()
        self._write_events(epoch, scores, gates, alphas)
        self._write_pictures(epoch, cases)
        report_intermediate({**scores, **named(gates)})
        logger.info(
            "epoch %d: Dice %.3f, derived %.3f, %d of %d edges %s",
            epoch + 1,
            scores["default"],
            scores["derived_dice"],
            len(genotype.edges),
            len(self.space.grid.edges),
            f"kept, {decided_share(gates.values()):.0%} of the gates decided" if gates else "(fixed)",
        )

    def decide(self, trainer: pl.Trainer) -> None:
        """Replaces gates and alphas by the decisions of a perturbation, as 0 and 1."""
        module, started = self.strategy.module, time.monotonic()
        assert isinstance(module, SparseDartsModule)
        decisions = decide_by_perturbation(
            module.mixed_layers,
            module.gates,
            lambda: self._dice(self.strategy.supernet, trainer)[0],
            Random(self.record.provenance["seed"]),
        )
        self.record.gates = {label: float(kept) for label, kept in decisions.edges.items()}
        self.record.alphas = {
            label: {name: float(name == decisions.operations[label]) for name in names}
            for label, names in self.record.alphas.items()
        }
        derived_dice, _ = self._derived_dice(self.record.genotype(), trainer)
        self.record.scores = {**self.record.scores, "derived_dice": derived_dice}
        logger.info(
            "decided by perturbation: Dice measured %d times in %.1f minutes; %d of %d searched edges kept; derived %.3f",
            decisions.num_scored,
            (time.monotonic() - started) / 60,
            sum(decisions.edges.values()),
            len(decisions.edges),
            derived_dice,
        )

    def finish(self) -> dict[str, float]:
        """Reports the final result and writes ``result.json``, after the last validation."""
        genotype = self.record.genotype()
        self.record.save(self.output)  # a kill after the last checkpoint may have left older ones
        self._write_genotypes()
        network = UXNet(self.space, genotype)
        final = {
            **self.record.scores,
            "edges_kept": len(genotype.edges),
            "decided_gates": round(decided_share(self.record.gates.values()), 4),
            "parameters": sum(p.numel() for p in network.parameters()),
        }
        minutes = round((time.monotonic() - self._started) / 60, 2)  # NNI shows its own
        write_json(self.output / RESULT_NAME, {**final, "search_minutes": minutes})
        self._report.update(last=True)
        report_final(final)
        return final

    def close(self) -> None:
        """Closes the TensorBoard events; after an interruption too."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _derived_dice(self, genotype: Genotype, trainer: pl.Trainer) -> tuple[float, ValidationCases]:
        """Dice of the pruned network with the supernet's weights, and this process's cases to see.

        The Dice is aggregated as ``val_dice`` is, see
        :class:`~uxnet_eval.recipe.validation.DiceTally`.
        """
        network = UXNet(self.space, genotype)
        network.inherit(self.strategy.supernet.state_dict())
        return self._dice(network, trainer)

    def _dice(self, network: nn.Module, trainer: pl.Trainer) -> tuple[float, ValidationCases]:
        """Dice of the validation cases, and this process's cases to see."""
        device = self.strategy.module.device
        network.to(device).eval()
        tally, cases = DiceTally(self.space.num_classes), ValidationCases(self.plan.spacing_mm)
        with torch.inference_mode(), autocast(str(trainer.precision), device):
            for batch in trainer.val_dataloaders:
                logits = segment(network, batch["image"].to(device), self.plan)
                prediction, label = logits.argmax(1, keepdim=True), batch["label"].to(device)
                dice = foreground_dice(prediction, label, self.space.num_classes)
                tally.add(dice)
                cases.add(batch["case_id"], batch["image"], label, prediction, dice.nanmean())
        tally.sums = trainer.strategy.reduce(tally.sums, reduce_op="sum")
        return tally.mean(), cases

    def _write_genotypes(self) -> None:
        folder = self.output / GENOTYPES_FOLDER
        folder.mkdir(exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", RescueWarning
            )  # gates rarely pass tau before the end of the search
            for threshold in sorted({*THRESHOLDS, self.record.prune_threshold}):
                self.record.genotype(threshold).save(folder / f"tau-{threshold:.2f}.json")
            self.record.genotype().save(self.output / GENOTYPE_NAME)

    def _write_events(
        self,
        epoch: int,
        scores: dict[str, float],
        gates: dict[Edge, float],
        alphas: dict[Layer, dict[str, float]],
    ) -> None:
        for name, value in scores.items():
            self._scalar(f"dice/{name}", value, epoch)
        self._scalar("gates/decided_share", decided_share(gates.values()), epoch)
        for edge, gate in gates.items():
            self._scalar(f"gates_into_stage_{edge.target.stage}/{edge}", gate, epoch)
        for layer, weights in alphas.items():
            for name, weight in weights.items():
                self._scalar(f"operations_{layer.node}/{layer.kind}_{name}", weight, epoch)
        assert self._writer is not None
        self._writer.flush()

    def _write_pictures(self, epoch: int, cases: ValidationCases) -> None:
        """The drawing and some segmentations: films in TensorBoard, the newest in the report."""
        assert self._writer is not None
        pictures = {"architecture": architecture_picture(self.record)}
        pictures |= {f"segmentation/{case_id}": picture for case_id, picture in cases.film().items()}
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, epoch, dataformats="HWC")
        self._writer.flush()
        cases.save(
            self.output, self._class_names, f"Derived network at the validation after epoch {epoch + 1}"
        )
        self._report.update()

    def _scalar(self, name: str, value: float, epoch: int) -> None:
        assert self._writer is not None
        self._writer.add_scalar(name, value, epoch)


def _number(value: Any) -> float:
    """A plain float; 0 for NaN, when no foreground class occurs in any validation case."""
    number = float(value)
    return 0.0 if math.isnan(number) else number


def _losses(trainer: pl.Trainer) -> dict[str, float]:
    """The newest losses of the two steps, for the learning curves."""
    names = {"loss/weights": "loss_weights", "loss/architecture": "loss_architecture"}
    return {
        short: float(trainer.callback_metrics[name])
        for name, short in names.items()
        if name in trainer.callback_metrics
    }
