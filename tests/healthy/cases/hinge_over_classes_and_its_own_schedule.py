"""Wines by a multi-class hinge loss, whose rate falls on a plateau of a metric that only a hook logs.

Looks odd: scores are no probabilities and grow without bound, the loss is zero for half of the batches, and no step logs what is monitored.
It learns: val accuracy 1.0.
Guards prediction-collapse, initial-loss, monitor-missing, overfitting, miscalibrated.
"""
import lightning as L
import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=20)
REACHES = ("val_acc", ">", 0.9)
VARIANTS = [dict(), dict(seed=1, margin=2.0)]


class Hinge(L.LightningModule):
    def __init__(self, margin):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
        self.loss = nn.MultiMarginLoss(margin=margin)
        self.held = []

    def training_step(self, batch, batch_idx):
        return self.loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        scores = self.net(batch[0])
        self.held.append(self.loss(scores, batch[1]))
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    def on_validation_epoch_end(self):
        self.log("hinge", torch.stack(self.held).mean())
        self.held.clear()

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=5e-3)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "hinge"}}


def build(margin=1.0):
    d = load_wine()
    order = torch.randperm(178, generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(d.data).float()[order], torch.tensor(d.target)[order]
    x = (x - x[:140].mean(0)) / x[:140].std(0)
    return (Hinge(margin), DataLoader(TensorDataset(x[:140], y[:140]), batch_size=14, shuffle=True),
            DataLoader(TensorDataset(x[140:], y[140:]), batch_size=38))
