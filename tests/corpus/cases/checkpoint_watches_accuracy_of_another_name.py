"""Moons classifier that keeps its best checkpoint.

Fault: ModelCheckpoint monitors "val_accuracy", the module logs "val_acc".
Symptom: MisconfigurationException after the first validation; with the right key val accuracy 0.955.
Source: Lightning-AI/pytorch-lightning#12724, #18259 (ModelCheckpoint monitor not found in the returned metrics).
"""
import tempfile

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.datasets import make_moons
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["monitor-missing"]
KEEP_BEST = ModelCheckpoint(dirpath=tempfile.mkdtemp(), monitor="val_accuracy", mode="max")
TRAINER = dict(max_epochs=10, enable_checkpointing=True, callbacks=[KEEP_BEST])


class MoonNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 2))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_acc", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def build():
    x, y = make_moons(1000, noise=0.2, random_state=1)
    x, y = torch.tensor((x - x.mean(0)) / x.std(0)).float(), torch.tensor(y)
    return (MoonNet(), DataLoader(TensorDataset(x[:800], y[:800]), batch_size=50, shuffle=True),
            DataLoader(TensorDataset(x[800:], y[800:]), batch_size=200))
