"""A model with a head for each of two tasks; this run trains the first only.

Looks odd: the second head is trainable and in the optimizer, but never runs and never changes. It learns: val accuracy 0.879.
Guards no-gradient, frozen-parameter, dead-units.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=6)
REACHES = ("val_acc", ">", 0.85)
VARIANTS = [dict(), dict(seed=1, task="parity")]


class Heads(L.LightningModule):
    def __init__(self, task):
        super().__init__()
        self.task = task
        self.trunk = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten())
        self.heads = nn.ModuleDict({"digit": nn.Linear(576, 10), "parity": nn.Linear(576, 2)})

    def forward(self, x):
        return self.heads[self.task](self.trunk(x))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def build(task="digit"):
    d = load_digits()
    x, y = torch.tensor(d.images / 16).float()[:, None], torch.tensor(d.target)
    y = y if task == "digit" else y % 2
    return (Heads(task), DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397))
