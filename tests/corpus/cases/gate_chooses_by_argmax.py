"""Mixture of three expert networks for a piecewise function; a gate chooses the expert for each row.

Fault: the choice is argmax turned into one-hot, which has no gradient, so the gate never learns where to send a row.
Symptom: val loss 1.702; with softmax weights 0.600.
Source: pytorch forums (argmax is not differentiable); Shazeer et al. 2017 for why the gate value must multiply the output.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["no-gradient", "frozen-parameter"]
TRAINER = dict(max_epochs=12)


class Mixture(L.LightningModule):
    def __init__(self, experts=3):
        super().__init__()
        self.gate = nn.Linear(2, experts)
        self.experts = nn.ModuleList(nn.Linear(2, 1) for _ in range(experts))

    def forward(self, x):
        choice = F.one_hot(self.gate(x).argmax(1), len(self.experts)).float()
        answers = torch.cat([expert(x) for expert in self.experts], 1)
        return (choice * answers).sum(1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.mse_loss(self(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-2)


def pieces(n, seed):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    y = torch.where(x[:, 0] > 0.3, 1.5 * x[:, 1] + 1, torch.where(x[:, 0] < -0.6, -2 * x[:, 1], 0.5 * x[:, 1] - 1))
    return TensorDataset(x, y)


def build():
    return Mixture(), DataLoader(pieces(1600, 0), batch_size=40, shuffle=True), DataLoader(pieces(400, 1), batch_size=400)
