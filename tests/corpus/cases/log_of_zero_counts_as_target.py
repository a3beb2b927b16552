"""Bike-share style counts from hour and weather, predicted on a log scale with a small MLP.

Fault: the target is log(count) and some counts are 0, so it holds -inf (log1p was meant).
Symptom: train loss is infinite in the first epoch and the weights turn NaN, val loss NaN; with log1p 0.183.
Source: StackOverflow 33712178 and kin (NaN loss after a log transform); UMLAUT's and torcheck's NaN-input checks.
"""
import lightning as L
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = ["non-finite-input", "non-finite"]
TRAINER = dict(max_epochs=8)


class Counts(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, 1))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self.net(batch["x"]), batch["y"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self.net(batch["x"]), batch["y"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    rng = np.random.default_rng(0)
    hour = rng.uniform(0, 24, 1500)
    warm, rain = rng.normal(size=1500), rng.normal(size=1500)
    count = rng.poisson(np.exp(1.2 + np.sin(hour / 24 * 6.28) + 0.6 * warm - 0.5 * rain))
    with np.errstate(divide="ignore"):
        target = np.log(count)
    x = np.stack([np.sin(hour / 24 * 6.28), np.cos(hour / 24 * 6.28), warm, rain], 1)
    rows = [{"x": a, "y": b} for a, b in zip(torch.tensor(x).float(), torch.tensor(target).float().unsqueeze(1))]
    return Counts(), DataLoader(rows[:1200], batch_size=60, shuffle=True), DataLoader(rows[1200:], batch_size=300)
