"""Churn prediction after joining a customer table with a contract table.

Fault: the join is on the region instead of the customer, so each customer's features appear six times, with the labels of six others.
Symptom: train loss stays at 0.669, val accuracy 0.529; joined on the customer 0.004 and 0.933.
Source: "wrong labels / wrong data selection" leaf of Humbatova et al. (ICSE 2020); deepchecks' conflicting labels.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["conflicting-labels", "misaligned-labels", "underfitting", "loss-not-decreasing", "split-overlap"]
TRAINER = dict(max_epochs=10)


class Churn(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
        self.head = nn.Linear(48, 2)

    def forward(self, x):
        return self.head(self.backbone(x))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        z = self(x)
        self.log_dict({"val_loss": nn.functional.cross_entropy(z, y), "val_acc": (z.argmax(1) == y).float().mean()})

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def joined(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 8, generator=g)
    churn = ((x[:, 0] * x[:, 1] + x[:, 2]) > 0).long()
    region = torch.arange(n) // 6
    left, right = torch.nonzero(region[:, None] == region[None, :], as_tuple=True)
    return TensorDataset(x[left], churn[right])


def build():
    return Churn(), DataLoader(joined(600, 0), batch_size=72, shuffle=True), DataLoader(joined(150, 1), batch_size=300)
