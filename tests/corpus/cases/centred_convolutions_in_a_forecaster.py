"""One-step-ahead forecast of a noisy autoregressive series at every position, by a stack of 1-D convolutions.

Fault: padding="same" centres the kernels, so the output at t has seen t+1, which is its target.
Symptom: val loss 0.017, below the noise of the series (0.25); padded on the left only 0.264.
Source: WaveNet reimplementations (issue threads on causal padding); Karpathy's recipe.
"""
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

RULES = ["future-leakage"]
TRAINER = dict(max_epochs=8)


class Forecaster(L.LightningModule):
    def __init__(self, c=16):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv1d(1, c, 5), nn.Conv1d(c, c, 5), nn.Conv1d(c, 1, 1)])

    def forward(self, x):
        h = x.unsqueeze(1)
        for conv in self.convs[:-1]:
            h = F.silu(conv(F.pad(h, (2, 2))))
        return self.convs[-1](h).squeeze(1)

    def training_step(self, batch, batch_idx):
        loss = F.mse_loss(self(batch["series"][:, :-1]), batch["series"][:, 1:])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.mse_loss(self(batch["series"][:, :-1]), batch["series"][:, 1:]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def series(n, seed, length=40):
    g = torch.Generator().manual_seed(seed)
    noise = 0.5 * torch.randn(n, length + 20, generator=g)
    x = [noise[:, 0], noise[:, 1]]
    for t in range(2, length + 20):
        x.append(1.2 * x[-1] - 0.6 * x[-2] + noise[:, t])
    return [{"series": row} for row in torch.stack(x[20:], 1)]


def build():
    return Forecaster(), DataLoader(series(800, 0), batch_size=40, shuffle=True), DataLoader(series(200, 1), batch_size=200)
