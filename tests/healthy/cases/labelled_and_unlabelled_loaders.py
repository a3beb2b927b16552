"""Semi-supervised digits (mean-teacher-like consistency): two training loaders in a dict, one of them without labels.

Looks odd: the batch is a dict of two batches of different size; the consistency weight ramps up.
It learns: val accuracy 0.86.
Guards invalid-target, unshuffled-train, diverging-loss.
"""
import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import CombinedLoader
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_acc", ">", 0.75)
VARIANTS = [dict()]


class SemiSupervised(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch["labelled"]
        (u,) = batch["unlabelled"]
        a, b = self(u + 0.05 * torch.randn_like(u)), self(u + 0.05 * torch.randn_like(u))
        weight = min(1.0, self.current_epoch / 6)
        loss = F.cross_entropy(self(x), y) + weight * F.mse_loss(a.softmax(1), b.softmax(1))
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(x))
        return loss

    def validation_step(self, batch, batch_idx):
        logits = self(batch[0])
        self.log("val_loss", F.cross_entropy(logits, batch[1]))
        self.log("val_acc", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    d = load_digits()
    x, y = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
    loaders = {"labelled": DataLoader(TensorDataset(x[:300], y[:300]), 20, shuffle=True),
               "unlabelled": DataLoader(TensorDataset(x[300:1400]), 60, shuffle=True)}
    return SemiSupervised(), CombinedLoader(loaders, "max_size_cycle"), DataLoader(TensorDataset(x[1400:], y[1400:]), 397)
