"""The LightningModule that the command line trains: a network with cross-entropy on its logits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diagnose.namespace import LightningModule

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRScheduler

SCHEDULERS = ("none", "cosine", "onecycle", "plateau")


class Classifier(LightningModule):
    """A classifier. It logs ``train/loss``, ``train/accuracy``, ``val/loss``, ``val/accuracy``, ``test/loss`` and ``test/accuracy``.

    Args:
        net: Gives logits of shape ``(n, classes)`` for inputs of shape ``(n, ...)``.
        optimizer: Makes the optimizer from the parameters.
        scheduler: ``name`` and the options of one of `SCHEDULERS`.

    Raises:
        ValueError: The scheduler's name is not known.
    """

    def __init__(
        self, net: nn.Module, optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer], scheduler: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.make_optimizer = optimizer
        self.schedule = dict(scheduler or {"name": "none"})
        if self.schedule.get("name") not in SCHEDULERS:
            raise ValueError(f"scheduler.name must be one of {', '.join(SCHEDULERS)}, got {self.schedule.get('name')!r}")

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits

    def _step(self, batch: tuple[Tensor, Tensor], stage: str) -> Tensor:
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y)
        accuracy = (logits.argmax(1) == y).float().mean()
        self.log_dict({f"{stage}/loss": loss, f"{stage}/accuracy": accuracy}, on_step=False, on_epoch=True, batch_size=len(y))
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step(batch, "test")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.make_optimizer(self.parameters())
        options = {k: v for k, v in self.schedule.items() if k != "name"}
        name = self.schedule["name"]
        if name == "none":
            return optimizer
        if name == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val/loss"}}
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        scheduler: torch.optim.lr_scheduler.LRScheduler
        if name == "cosine":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        else:
            peak = optimizer.param_groups[0]["lr"]
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps + 1, pct_start=options.get("warmup", 0.3))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
