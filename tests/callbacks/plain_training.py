"""The plainest module, its data and its fit, for tests of what a monitor measures."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Net(LightningModule):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.lr = lr
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(torch.relu(self.first(x)))
        return scores

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def data(rows: int = 40, batch: int = 4) -> DataLoader[Any]:
    torch.manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(rows, 4), torch.randint(0, 3, (rows,))), batch_size=batch)


def fit(module: LightningModule, *callbacks: lightning.Callback, loader: Any = None, val: Any = None, **settings: Any) -> Trainer:
    trainer = Trainer(**{**QUIET, "max_epochs": 1, **settings}, callbacks=list(callbacks))
    trainer.fit(module, loader if loader is not None else data(), val)
    return trainer
