"""Digits by an MLP whose average over the steps is validated.

Fault: the average keeps 0.99999 of itself at each of a few hundred steps, so it is still the network that training began with.
Symptom: train loss 0.03, val loss 2.29 and accuracy at chance; with 0.98 val accuracy is 0.9.
Source: EMA decay copied from runs of a million steps; timm and Lightning threads on "EMA model performs at random".
"""

import copy

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["overfitting", "frozen-parameter", "wrong-mode", "prediction-collapse"]
TRAINER = dict(max_epochs=8)


class Averaged(L.LightningModule):
    def __init__(self, keep=0.99999):
        super().__init__()
        self.keep = keep
        self.net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
        self.average = copy.deepcopy(self.net).requires_grad_(False)

    def forward(self, x):
        return (self.net if self.training else self.average)(x)

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        for slow, fast in zip(self.average.parameters(), self.net.parameters(), strict=True):
            slow.lerp_(fast.detach(), 1 - self.keep)

    def validation_step(self, batch, batch_idx):
        scores = self(batch[0])
        self.log("val_loss", F.cross_entropy(scores, batch[1]))
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), lr=2e-3)


def build():
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor((x - 4.9) / 6).float(), torch.tensor(y)
    return (
        Averaged(),
        DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=40, shuffle=True),
        DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397),
    )
