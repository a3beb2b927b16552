"""Digits by an MLP with early stopping.

Fault: min_delta=1.0 (of an accuracy in percent) on a cross-entropy: no epoch gains that much, so training ends after three.
Symptom: val loss 1.77 and falling when the run ends; without min_delta it is 0.30.
Source: Lightning questions on EarlyStopping that stops although the loss improves.
"""

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import EarlyStopping
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["monitor-missing", "undertrained", "learning-rate-too-low", "underfitting"]
TRAINER = dict(max_epochs=30, callbacks=[EarlyStopping("val_loss", min_delta=1.0, patience=2)])


class Digits(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=4e-4)


def build():
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor((x - 4.9) / 6).float(), torch.tensor(y)
    return (
        Digits(),
        DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=40, shuffle=True),
        DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397),
    )
