"""Regression MLP with strong dropout; a helper switches the network to training mode once "to be sure".

Fault: on_validation_start calls self.train(), so dropout is active in every validation and the figures are noise on top of the truth.
Symptom: val loss 0.159; the same weights in eval mode give 0.054.
Source: PulseML's eval_in_train_mode; Lightning-AI/pytorch-lightning#3387-like reports on modes in validation.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = ["wrong-mode"]
TRAINER = dict(max_epochs=10)


class Helper(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Dropout(0.4), nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.4), nn.Linear(128, 1))

    def on_validation_start(self):
        self.train()

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self.net(batch["x"]), batch["y"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self.net(batch["x"]), batch["y"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def rows(n, seed):
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))
    y = (x[:, :1] + x[:, 1:2] * x[:, 2:3]) / 1.4
    return [{"x": a, "y": b} for a, b in zip(x, y)]


def build():
    return Helper(), DataLoader(rows(1500, 0), batch_size=50, shuffle=True), DataLoader(rows(400, 1), batch_size=400)
