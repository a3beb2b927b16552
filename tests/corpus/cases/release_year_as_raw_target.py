"""Release year of a song (1960-2020) from twelve timbre features.

Fault: the target is the year itself; the output starts at 0 and Adam at 1e-3 needs thousands of steps to climb to 1990.
Symptom: first loss 3.95e+06, val MAE 1.96e+03 years; with the target standardised 2.508 years.
Source: StackOverflow 45337371-like raw-target regressions; Karpathy's recipe (initialise the last bias).
"""
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RULES = ["initial-loss", "learning-rate-too-low", "underfitting"]
TRAINER = dict(max_epochs=12)
CENTER, SCALE = 0.0, 1.0


class YearNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(12, 32), nn.Linear(32, 1)

    def forward(self, timbre):
        return self.fc2(torch.relu(self.fc1(timbre))).squeeze(1)

    def training_step(self, batch, batch_idx):
        timbre, year = batch
        loss = nn.functional.mse_loss(self(timbre), (year - CENTER) / SCALE)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        timbre, year = batch
        guess = self(timbre)
        self.log("val_loss", nn.functional.mse_loss(guess, (year - CENTER) / SCALE))
        self.log("val_mae", (guess * SCALE + CENTER - year).abs().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def songs(n, seed):
    g = torch.Generator().manual_seed(seed)
    timbre = torch.randn(n, 12, generator=g)
    year = 1990 + 12 * torch.tanh(timbre[:, 0] + timbre[:, 1] * timbre[:, 2]) + 3 * timbre[:, 3] + torch.randn(n, generator=g)
    return TensorDataset(timbre, year)


def build():
    return YearNet(), DataLoader(songs(1600, 0), batch_size=32, shuffle=True), DataLoader(songs(400, 1), batch_size=400)
