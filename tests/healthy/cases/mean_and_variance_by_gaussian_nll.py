"""Heteroscedastic regression: the network gives mean and variance, trained by the Gaussian likelihood.

Looks odd: two outputs for one target column, a negative loss at the end. It learns: val loss -0.735 (floor about -0.77).
Guards wrong-output-size, diverging-loss, initial-loss, loss-broadcast.
"""
import lightning as L
import torch
from torch import nn
from torch.nn.functional import gaussian_nll_loss, softplus
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=14)
REACHES = ("val_loss", "<", -0.2)
VARIANTS = [dict(), dict(seed=1, batch_size=100, lr=1e-2)]


class Density(L.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2))

    def step(self, batch):
        mean, raw = self.net(batch[0]).chunk(2, dim=1)
        return gaussian_nll_loss(mean, batch[1], softplus(raw) + 1e-3)

    def training_step(self, batch, batch_idx):
        loss = self.step(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.step(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def data(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = 3.4 * (torch.rand(n, 1, generator=g) - 0.5)
    return TensorDataset(x, torch.sin(3 * x) + (0.1 + 0.4 * (x + 1.7) / 3.4) * torch.randn(n, 1, generator=g))


def build(batch_size=50, lr=5e-3):
    return Density(lr), DataLoader(data(2000, 0), batch_size=batch_size, shuffle=True), DataLoader(data(400, 1), batch_size=400)
