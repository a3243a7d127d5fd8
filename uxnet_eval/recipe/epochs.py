"""Callbacks that make a resumed run equal an uninterrupted one."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
import torch


class EpochSeeds(pl.Callback):
    """Seeds the random numbers of each epoch (dropout); the patches have seeds of their own.

    Args:
        seed: of the training.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        numbers = (self.seed, trainer.current_epoch, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


class Validations(pl.Callback):
    """Validates every ``validate_every`` epochs, and always after the last one of ``epochs``."""

    def __init__(self, validate_every: int, epochs: int) -> None:
        self.validate_every, self.epochs = validate_every, epochs

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        is_last = trainer.current_epoch + 1 == self.epochs
        trainer.check_val_every_n_epoch = 1 if is_last else self.validate_every
