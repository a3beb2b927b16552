"""Digit recognition; the activation is applied after every layer in a loop.

Fault: the loop also puts a ReLU on the last layer, so class scores cannot be negative and many classes start with a zero score and no
gradient.
Symptom: val accuracy 0.746, train loss 0.491; with linear scores 0.922 and 0.018.
Source: StackOverflow 41600519 and pytorch forums (ReLU before cross-entropy); DeepFD activation class.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

RULES = ["output-range-mismatch", "dead-units", "underfitting", "no-gradient", "activation-loss-mismatch"]
TRAINER = dict(max_epochs=8)


class Net(L.LightningModule):
    def __init__(self, sizes=(64, 64, 32, 10)):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:]))

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x))
        return x

    def _step(self, batch, name):
        x, y = batch
        out = self(x)
        loss = F.cross_entropy(out, y)
        self.log(f"{name}_loss", loss, on_step=False, on_epoch=True)
        self.log(f"{name}_acc", (out.argmax(1) == y).float().mean(), on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch, batch_idx):
        return self._step(batch, "train")

    def validation_step(self, batch, batch_idx):
        return self._step(batch, "val")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def build():
    d = load_digits()
    x, y = torch.tensor((d.data - 4.9) / 6).float(), torch.tensor(d.target)
    return (Net(), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
