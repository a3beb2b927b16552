"""What the jobs are made of: a module that remembers, its data, and a fit of both."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from tests.callbacks.identity import Run, digest

INPUTS, CLASSES, ROWS = 6, 3, 32


class Jobs(dict[str, Callable[[Run], None]]):
    """Small trainings by name; called with a name, it takes in the function below."""

    def __call__(self, name: str) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
        def add(function: Callable[[Run], None]) -> Callable[[Run], None]:
            self[name] = function
            return function

        return add


class Module(lightning.LightningModule):
    """A classifier that logs, uses all random generators, and remembers what batches it was given."""

    def __init__(self, net: nn.Module, optimizer: Callable[..., Any] = torch.optim.SGD, lr: float = 0.05, **options: Any) -> None:
        super().__init__()
        self.net, self.optimizer, self.lr, self.options = net, optimizer, lr, options
        self.seen: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x)
        return scores

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen.append(digest(batch))
        loss = self.loss(batch) * (1 + 0.01 * random.random() + 0.01 * float(np.random.rand()))
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val", self.loss(batch), batch_size=len(batch[1]))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test", self.loss(batch), batch_size=len(batch[1]))

    def configure_optimizers(self) -> Any:
        return self.optimizer(self.parameters(), lr=self.lr, **self.options)


def table(rows: int = ROWS, *shape: int) -> TensorDataset:
    x = torch.randn(rows, *(shape or (INPUTS,)))
    return TensorDataset(x, x.reshape(rows, -1)[:, :CLASSES].argmax(1))


def mlp(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(INPUTS, 8), *(layers or (nn.ReLU(),)), nn.Linear(8, CLASSES))


def noisy() -> nn.Sequential:
    return mlp(nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))


def fit(run: Run, module: lightning.LightningModule, *own: lightning.Callback, rows: int = ROWS, **settings: Any) -> Any:
    data = table(rows)
    return run.fit(module, run.loader(data, batch_size=8, shuffle=True), run.loader(table(16), batch_size=8), *own, **settings)
