"""Remaining life of a bearing (scaled) from six features; the target column is a vector.

Fault: the net's output is (N, 1), the target (N,); l1_loss broadcasts them to (N, N) with only a warning.
Symptom: val loss 0.658: the net predicts the median for all; with squeeze(1) 0.082.
Source: pytorch/pytorch#16045 and forums ("Using a target size that is different to the input size").
"""
import lightning as L
import torch
from torch import nn
from torch.nn.functional import l1_loss
from torch.utils.data import DataLoader, TensorDataset

RULES = ["loss-broadcast", "underfitting", "loss-not-decreasing", "invalid-target", "cannot-overfit-batch", "prediction-collapse"]
TRAINER = dict(max_epochs=10)


class Bearing(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 32), nn.Mish(), nn.Linear(32, 32), nn.Mish())
        self.out = nn.Linear(32, 1)

    def forward(self, x):
        return self.out(self.body(x))

    def training_step(self, batch, batch_idx):
        x, life = batch
        loss = l1_loss(self(x), life)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, life = batch
        self.log("val_loss", l1_loss(self(x).squeeze(1), life))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def bearings(n, seed):
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, 0.5 * x[:, 0] * x[:, 1] + x[:, 2].abs() - 0.8 + 0.4 * x[:, 3])


def build():
    return Bearing(), DataLoader(bearings(1500, 0), batch_size=50, shuffle=True), DataLoader(bearings(400, 1), batch_size=400)
