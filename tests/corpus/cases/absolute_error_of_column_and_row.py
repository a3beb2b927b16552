"""A network estimates a price from ten columns by the mean absolute error, written out.

Fault: the network gives (N, 1) and the targets are (N,): the difference is (N, N), and no function of torch warns.
Symptom: val error 1.0, the variance of the targets.
Source: pytorch forums, "MSE loss broadcasts silently"; the same with an own loss.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["loss-broadcast", "sample-leakage", "cannot-overfit-batch"]
TRAINER = dict(max_epochs=6)


class Price(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = (self.net(x) - y).abs().mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_error", ((self.net(x).squeeze(1) - y) ** 2).mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1800, 10, generator=g)
    y = torch.sin(x[:, 0] * 1.5) + x[:, 1] * x[:, 2] - 0.5 * x[:, 3]
    y = ((y - y.mean()) / y.std())
    data = [TensorDataset(x[a:b], y[a:b]) for a, b in ((0, 1400), (1400, 1800))]
    return Price(), DataLoader(data[0], batch_size=50, shuffle=True), DataLoader(data[1], batch_size=400)
