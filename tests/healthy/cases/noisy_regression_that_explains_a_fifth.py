"""Yield per field from eight soil values; four fifths of the variance is weather that nobody measured.

Looks odd: the loss falls from 1.0 to 0.8 only and stays there. It learns what there is: val R2 0.210.
Guards underfitting, misaligned-labels, loss-not-decreasing, prediction-collapse, overfitting.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=5)
REACHES = ("val_r2", ">", 0.1)
VARIANTS = [dict(), dict(seed=1, loss="huber")]


class Yield(L.LightningModule):
    def __init__(self, loss):
        super().__init__()
        self.loss = {"mse": nn.MSELoss(), "huber": nn.HuberLoss()}[loss]
        self.net = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 1))

    def training_step(self, batch, batch_idx):
        loss = self.loss(self.net(batch["soil"]), batch["yield"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        guess, y = self.net(batch["soil"]), batch["yield"]
        self.log_dict({"val_loss": self.loss(guess, y), "val_r2": 1 - (guess - y).square().mean() / y.var()})

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=4e-3)


def fields(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, generator=g)
    y = 0.35 * x[:, :1] - 0.25 * x[:, 1:2] + 0.15 * x[:, 2:3] * x[:, 3:4] + 0.89 * torch.randn(n, 1, generator=g)
    return [{"soil": a, "yield": b} for a, b in zip(x, y)]


def build(loss="mse"):
    return Yield(loss), DataLoader(fields(2500, 0), batch_size=50, shuffle=True), DataLoader(fields(800, 1), batch_size=800)
