"""Digits in a step that shuffles its batch before it is cut into two halves for two forward passes.

Fault: each of the two calls to torch.randperm draws an order of its own, so images and labels no longer belong together.
Symptom: val accuracy 0.244; with one order for both 0.879.
Source: StackOverflow 54580684 (shuffle two tensors in the same order).
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["misaligned-labels", "loss-not-decreasing", "cannot-overfit-batch"]
TRAINER = dict(max_epochs=8)


def shuffled(x):
    return x[torch.randperm(len(x))]


class Halves(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        x, y = shuffled(batch[0]), shuffled(batch[1])
        half = len(x) // 2
        scores = torch.cat([self.net(x[:half]), self.net(x[half:])])
        loss = nn.functional.cross_entropy(scores, y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        scores = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(scores, batch[1]))
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build():
    d = load_digits()
    x, y = torch.tensor(d.data / 16).float(), torch.tensor(d.target)
    return (Halves(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
