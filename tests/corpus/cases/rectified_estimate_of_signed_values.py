"""A regression of a standardised value by the root of the mean squared error.

Fault: a ReLU follows the last layer, while half of the targets are negative.
Symptom: val error 0.6, with the negative half at zero.
Source: StackOverflow: "network only predicts positive values".
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["output-range-mismatch", "cannot-overfit-batch", "dead-units"]
TRAINER = dict(max_epochs=6)


class Signed(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1), nn.ReLU())

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = torch.sqrt(((self.net(x).squeeze(1) - y) ** 2).mean() + 1e-8)
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
    return Signed(), DataLoader(data[0], batch_size=50, shuffle=True), DataLoader(data[1], batch_size=400)
