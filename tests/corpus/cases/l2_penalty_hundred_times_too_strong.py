"""Spectral calibration (absorbance to concentration) with an L2 penalty added to the loss by hand.

Fault: the penalty factor is 1.0 where 1e-3 was meant; the weights are pulled to zero and the network answers with the mean.
Symptom: val MSE 0.989 (target variance 1); with 1e-3 0.004.
Source: TheDeepChecker's regularisation check; RGL class of published faults; StackOverflow 42704283.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["weight-decay-dominates", "prediction-collapse", "underfitting", "cannot-overfit-batch", "vanishing-gradient"]
TRAINER = dict(max_epochs=10)


class Calibration(L.LightningModule):
    def __init__(self, l2=1.0):
        super().__init__()
        self.l2 = l2
        self.net = nn.Sequential(nn.Linear(25, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        penalty = sum((p**2).sum() for p in self.parameters())
        loss = nn.functional.mse_loss(self(batch[0]), batch[1]) + self.l2 * penalty
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_mse", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def samples(n, seed):
    g = torch.Generator().manual_seed(seed)
    amount = torch.randn(n, 2, generator=g)
    grid = torch.linspace(-3, 3, 25)
    lines = torch.stack([torch.exp(-((grid - 0.5) ** 2)), torch.exp(-((grid + 0.7) ** 2))])
    return TensorDataset(amount @ lines + 0.1 * torch.randn(n, 25, generator=g), amount[:, :1])


def build():
    return Calibration(), DataLoader(samples(1200, 0), batch_size=40, shuffle=True), DataLoader(samples(300, 1), batch_size=300)
