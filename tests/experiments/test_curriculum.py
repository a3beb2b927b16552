"""Hooks that change the training data as training goes on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader, Dataset, Subset

from diagnose.experiments.curriculum import changes_data
from tests.experiments.odd import Classifier


class Growing(Dataset[Any]):
    def __init__(self) -> None:
        self.stage = 1

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        return torch.full((8,), float(self.stage * index)), index % 3


class Holding(Classifier):
    """Keeps its data, as modules that make their own loaders do."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data


class Staged(Holding):
    def on_train_epoch_start(self) -> None:
        self.data.stage = self.current_epoch


class ByTrainer(Classifier):
    def on_train_epoch_end(self) -> None:
        self.trainer.train_dataloader.dataset.stage += 1  # type: ignore[union-attr]


class Stage(Callback):
    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.train_dataloader.dataset.stage += 1


DATA = Growing()


@pytest.mark.parametrize(
    ("module", "callbacks", "hook"),
    [
        (Classifier(), [], ""),
        (Holding(DATA), [], ""),
        (Staged(Growing()), [], ""),
        (Staged(DATA), [], "Staged.on_train_epoch_start"),
        (ByTrainer(), [], "ByTrainer.on_train_epoch_end"),
        (Classifier(), [Stage()], "Stage.on_train_epoch_start"),
    ],
)
def test_who_changes_the_data(module: Any, callbacks: list[Callback], hook: str) -> None:
    trainer = Trainer(callbacks=callbacks, logger=False, enable_checkpointing=False, accelerator="cpu")
    for data in (DATA, Subset(DATA, range(20))):
        assert changes_data(module, DataLoader(data, batch_size=8), trainer) == hook
