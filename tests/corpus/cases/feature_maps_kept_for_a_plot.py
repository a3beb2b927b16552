"""Autoencoder of long signals that collects its code for a t-SNE plot at the end.

Fault: self.codes.append(h) keeps the wide feature map of every training batch, with its graph, and nobody clears the list.
Symptom: the resident memory grows by about 1.2 MB a step without end (200 MB here); keeping one mean per sample it stays. The training
result is the same (val loss 0.012 and 0.012).
Source: pytorch FAQ ("My model reports out of memory": don't accumulate history); Lightning-AI/pytorch-lightning#4556.
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

RULES = ["memory-growth"]
TRAINER = dict(max_epochs=10)


class SignalAE(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.codes = []
        self.encode = nn.Sequential(nn.Conv1d(1, 32, 9, stride=2, padding=4), nn.GELU())
        self.narrow = nn.Sequential(nn.Conv1d(32, 4, 9, stride=4, padding=4), nn.GELU())
        self.decode = nn.Sequential(nn.ConvTranspose1d(4, 16, 8, stride=4, padding=2), nn.GELU(), nn.ConvTranspose1d(16, 1, 8, stride=2, padding=3))

    def training_step(self, x, batch_idx):
        h = self.encode(x)
        self.codes.append(h)
        loss = nn.functional.mse_loss(self.decode(self.narrow(h)), x)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, x, batch_idx):
        self.log("val_loss", nn.functional.mse_loss(self.decode(self.narrow(self.encode(x))), x))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def build():
    g = torch.Generator().manual_seed(0)
    t = torch.arange(512.0)
    x = torch.sin((0.05 + 0.2 * torch.rand(500, 1, 1, generator=g)) * t + 6.28 * torch.rand(500, 1, 1, generator=g))
    x = x + 0.1 * torch.randn(500, 1, 512, generator=g)
    return SignalAE(), DataLoader(x[:400], batch_size=25, shuffle=True), DataLoader(x[400:], batch_size=100)
