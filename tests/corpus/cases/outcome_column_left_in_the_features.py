"""Readmission risk from twenty lab values; the table also holds a billing code that is written after readmission.

Fault: the billing code (a copy of the label with a little noise) is among the features.
Symptom: val accuracy 0.915 after the first epoch and 1.000 at the end; without the column 0.728, which is what the
labs can tell.
Source: Kapoor & Narayanan 2023 (illegitimate features); Kaufman et al. 2012 (leakage in data mining); UMLAUT's val-accuracy rule.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["suspicious-validation"]
TRAINER = dict(max_epochs=8)


class Risk(L.LightningModule):
    def __init__(self, features):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.binary_cross_entropy_with_logits(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        out = self(batch[0])
        self.log("val_loss", nn.functional.binary_cross_entropy_with_logits(out, batch[1]))
        self.log("val_acc", ((out > 0) == (batch[1] > 0)).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def patients(n, seed):
    g = torch.Generator().manual_seed(seed)
    labs = torch.randn(n, 20, generator=g)
    back = (labs[:, :6].sum(1) / 6**0.5 + 1.2 * torch.randn(n, generator=g) > 0).float()
    billing = 2 * back - 1 + 0.1 * torch.randn(n, generator=g)
    return TensorDataset(torch.cat([labs, billing[:, None]], 1), back)


def build():
    train, val = patients(1500, 0), patients(400, 1)
    return Risk(train.tensors[0].size(1)), DataLoader(train, batch_size=50, shuffle=True), DataLoader(val, batch_size=400)
