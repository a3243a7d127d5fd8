"""What makes each epoch of a training the same, whether or not the run was stopped before it."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
import torch


class EpochSeeds(pl.Callback):
    """Every epoch has its own random numbers (of dropout); Lightning tells the patches which epoch it is.

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
