"""Digits, with the network copied once to keep its start.

Fault: the optimizer is built over the copy, so the network that runs never changes.
Symptom: val accuracy 0.106, loss stays at 2.312; with the network's own parameters 0.861.
Source: pytorch forums (optimizer built before model.to() or deepcopy); OPT class of published faults.
"""
import copy

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["missing-from-optimizer", "frozen-parameter", "loss-not-decreasing"]
TRAINER = dict(max_epochs=4)


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        start = copy.deepcopy(self.net)
        return torch.optim.Adam(start.parameters(), lr=3e-3)


def build():
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (Net(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
