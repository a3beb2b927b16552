"""Digit CNN with SGDR (cosine with warm restarts, T_0 of three epochs, T_mult 2), stepped per batch.

Looks odd: the rate falls to zero and jumps back twice; the loss has steps.
It learns: val accuracy 0.92.
Guards scheduler-mismatch, oscillating-loss.
"""
import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=9)
REACHES = ("val_acc", ">", 0.85)
VARIANTS = [dict()]


class CNN(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 24, 3), nn.ReLU(), nn.Flatten(), nn.Linear(384, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        logits = self(batch[0])
        self.log("val_loss", F.cross_entropy(logits, batch[1]))
        self.log("val_acc", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
        restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=66, T_mult=2)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": restarts, "interval": "step"}}


def build():
    d = load_digits()
    x, y = torch.tensor(d.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(d.target)
    return CNN(), DataLoader(TensorDataset(x[:1400], y[:1400]), 64, shuffle=True), DataLoader(TensorDataset(x[1400:], y[1400:]), 397)
