"""Cultivar of a wine from thirteen measurements by an MLP.

Fault: a hook left over from cross-validation draws all layers anew whenever an epoch begins.
Symptom: the loss falls within each epoch and is at its first value when the next begins; val accuracy depends on the last epoch alone.
Source: Lightning discussions on re-initialising a module between folds.
"""

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["loss-not-decreasing", "underfitting", "frozen-parameter", "learning-rate-too-low", "oscillating-loss"]
TRAINER = dict(max_epochs=8)


class Cultivars(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x):
        return self.layers(x)

    def on_train_epoch_start(self):
        for layer in self.layers[::2]:
            layer.reset_parameters()

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True)
        return loss

    def validation_step(self, batch, batch_idx):
        scores = self(batch[0])
        self.log("val_loss", F.cross_entropy(scores, batch[1]))
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build():
    x, y = load_wine(return_X_y=True)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return (
        Cultivars(),
        DataLoader(TensorDataset(x[:130], y[:130]), batch_size=5, shuffle=True),
        DataLoader(TensorDataset(x[130:], y[130:]), batch_size=48),
    )
