"""A smoke run of three batches, as before a long job: limit_train_batches=3, one epoch.

Looks odd: nothing can be said from three losses. It learns a little: val loss 0.598 (ln 4 = 1.39 before).
Guards every trend rule; they must say "too short".
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=1, limit_train_batches=3, limit_val_batches=1)
REACHES = ("val_loss", "<", 1.3)
VARIANTS = [dict(), dict(seed=1, batch_size=64)]


class Smoke(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 4))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch["x"]), batch["y"])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch["x"]), batch["y"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-2)


def build(batch_size=32):
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (800,), generator=g)
    x = 1.5 * torch.randn(4, 12, generator=g)[y] + torch.randn(800, 12, generator=g)
    rows = [{"x": a / 1.8, "y": b} for a, b in zip(x, y)]
    return Smoke(), DataLoader(rows[:600], batch_size=batch_size, shuffle=True), DataLoader(rows[600:], batch_size=100)
