"""Quantile regression (10 %, 50 %, 90 %) with a hand-written pinball loss; one target column, three outputs that broadcast against it.

Looks odd: (N, 3) minus (N, 1) broadcasts on purpose, the loss has a high floor. It learns: share of targets inside the band
0.757 (0.8 is right), val loss 0.139.
Guards loss-broadcast, wrong-output-size, underfitting.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = []
TRAINER = dict(max_epochs=10)
REACHES = ("val_loss", "<", 0.16)
VARIANTS = [dict(), dict(seed=1, width=64)]


class Quantiles(L.LightningModule):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 3))
        self.register_buffer("levels", torch.tensor([0.1, 0.5, 0.9]))

    def loss(self, q, y):
        gap = y - q
        return torch.maximum(self.levels * gap, (self.levels - 1) * gap).mean()

    def training_step(self, batch, batch_idx):
        loss = self.loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        q = self.net(batch[0])
        self.log("val_loss", self.loss(q, batch[1]))
        self.log("val_inside", ((batch[1] > q[:, :1]) & (batch[1] < q[:, 2:])).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def data(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=g)
    return TensorDataset(x, x[:, :1] + x[:, 1:].abs() + 0.5 * torch.randn(n, 1, generator=g))


def build(width=32):
    return Quantiles(width), DataLoader(data(1500, 0), batch_size=50, shuffle=True), DataLoader(data(400, 1), batch_size=400)
