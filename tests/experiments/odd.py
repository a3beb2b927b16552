"""Small modules and loaders, sound ones and odd ones, for the tests of the probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

from diagnose.experiments.loaders import first_batches
from diagnose.experiments.sandbox import Sandbox, run_in_sandbox
from diagnose.record import Record


def blobs(n: int = 128, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points of eight features in three classes, standardised."""
    generator = torch.Generator().manual_seed(seed)
    centres = 1.5 * torch.randn(3, 8, generator=generator)
    y = torch.randint(3, (n,), generator=generator)
    x = centres[y] + 0.7 * torch.randn(n, 8, generator=generator)
    return (x - x.mean(0)) / x.std(0), y


def loaders(*tensors: Tensor, **options: Any) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Shuffled training batches of 16 and validation batches from the last quarter of the rows."""
    data = TensorDataset(*(tensors or blobs()))
    cut = len(data) * 3 // 4
    options = {"batch_size": 16, **options}
    return DataLoader(Subset(data, range(cut)), shuffle=True, **options), DataLoader(Subset(data, range(cut, len(data))), **options)


class Classifier(LightningModule):
    """A sound classifier; tests change one thing about it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*(layers or (nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_epoch=True, prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log_dict({"val_loss": F.cross_entropy(self(x), y)})

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-3)


class Regressor(Classifier):
    """The same with squared error."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*(layers or (nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return F.mse_loss(self(x), y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)


class Manual(Classifier):
    """Takes its own steps."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(F.cross_entropy(self(batch[0]), batch[1]))
        optimizer.step()  # type: ignore[union-attr]


class Margins(Classifier):
    """A loss whose floor nobody knows, of targets that are padded with -1."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return F.multilabel_margin_loss(self(x), torch.stack([y, torch.full_like(y, -1), torch.full_like(y, -1)], 1))


def sandboxed(module: LightningModule, train: Any, use: Callable[[Sandbox, Record], Any], *, val: Any = None, count: int = 6) -> Record:
    """Call ``use`` with a sandbox around the module; returns what it wrote."""
    record = Record()

    def inside(sandbox: Sandbox) -> None:
        sandbox.remember()
        use(sandbox, record)

    held_out = first_batches(val, 2) if val is not None else []
    run_in_sandbox(module, first_batches(train, count), held_out, inside, loader=train)
    return record
