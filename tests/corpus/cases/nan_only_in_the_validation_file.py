"""Rental prices; missing areas were filled in the training file, but not in the validation file.

Fault: one in fifty validation rows has NaN as its area.
Symptom: train loss 0.027, val loss NaN in every epoch; filled alike 0.016.
Source: Lightning discussions ("val_loss is nan, train_loss is fine"); torcheck's NaN check.
"""
import lightning as L
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

RULES = ["non-finite-input", "non-finite"]
TRAINER = dict(max_epochs=6)


class Flats(Dataset):
    def __init__(self, n, seed, fill):
        rng = np.random.default_rng(seed)
        self.area, self.rooms, self.rest = rng.normal(size=n), rng.integers(1, 5, n), rng.normal(size=(n, 3))
        self.rent = 0.8 * self.area + 0.3 * (self.rooms - 2.5) + 0.3 * self.rest[:, 0] * self.rest[:, 1]
        self.area[rng.random(n) < 0.02] = np.nan
        if fill:
            self.area = np.nan_to_num(self.area)

    def __len__(self):
        return len(self.rent)

    def __getitem__(self, i):
        return {"features": np.float32([self.area[i], self.rooms[i] - 2.5, *self.rest[i]]), "rent": np.float32(self.rent[i])}


class Rent(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self.net(batch["features"]), batch["rent"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self.net(batch["features"]), batch["rent"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def build():
    return Rent(), DataLoader(Flats(1200, 0, fill=True), batch_size=40, shuffle=True), DataLoader(Flats(300, 1, fill=False), batch_size=300)
