"""Autoencoder with a learned code book: the code is rounded to its nearest entry and the gradient goes straight through.

Looks odd: the linear encoder's end and the decoder's start have no nonlinearity between them in the graph, a detached value is added, the
loss is a sum of three squared errors.
It learns: val loss 0.04 (variance 0.25).
Guards missing-nonlinearity, no-gradient, loss-not-decreasing.
"""
import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

RULES = []
TRAINER = dict(max_epochs=12)
REACHES = ("val_loss", "<", 0.12)
VARIANTS = [dict(), dict(seed=1, entries=64), dict(seed=2, deep=False)]


class Quantised(L.LightningModule):
    def __init__(self, entries, deep):
        super().__init__()
        front = [nn.Linear(64, 64), nn.ReLU()] if deep else []
        back = [nn.Linear(64, 64), nn.ReLU()] if deep else []
        self.encode = nn.Sequential(*front, nn.Linear(64, 64))
        self.decode = nn.Sequential(*back, nn.Linear(64, 64))
        self.book = nn.Embedding(entries, 8)

    def forward(self, x):
        z = self.encode(x).reshape(-1, 8, 8)
        nearest = torch.cdist(z.detach().reshape(-1, 8), self.book.weight.detach()).argmin(1).reshape(-1, 8)
        code = self.book(nearest)
        extra = nn.functional.mse_loss(code, z.detach()) + 0.25 * nn.functional.mse_loss(z, code.detach())
        return self.decode((z + (code - z).detach()).reshape(-1, 64)), extra

    def training_step(self, x, batch_idx):
        out, extra = self(x)
        loss = nn.functional.mse_loss(out, x) + extra
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, x, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self(x)[0], x))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build(entries=32, deep=True):
    x = torch.tensor(load_digits().data / 8 - 1).float()
    x = x - x[:1400].mean(0)
    return Quantised(entries, deep), DataLoader(x[:1400], batch_size=50, shuffle=True), DataLoader(x[1400:], batch_size=397)
